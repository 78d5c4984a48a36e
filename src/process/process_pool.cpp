// The pool as fibers and threads use it.
#include <thrum/process_pool.hpp>

#include <cstring>
#include <stdexcept>

#include <thrum/cancelled.hpp>
#include <thrum/clock.hpp>

#include "net/stream_loops.hpp"
#include "process/pipe_calls.hpp"
#include "process/pool_call.hpp"
#include "process/pool_serve.hpp"

namespace thrum {
namespace detail {

remote_message::remote_message(remote_thunk thunk, any_function f) {
  call_header head{};
  if (!locate_code(reinterpret_cast<void*>(thunk), head.thunk) ||
      !locate_code(reinterpret_cast<void*>(f), head.function))
    throw std::system_error(std::make_error_code(std::errc::bad_address), "thrum: process_pool: not a function");
  out.bytes().resize(sizeof head);
  std::memcpy(out.bytes().data(), &head, sizeof head);
}

void remote_message::throw_failure() const {
  if (!error) return;
  if (error == std::errc::operation_canceled) throw cancelled{};
  if (error.category() == worker_category()) throw worker_error(error, text);
  throw std::system_error(error, "thrum: process_pool");
}

namespace {

std::error_code pause_of(pool_core& pool, std::int64_t deadline_ns) {
  try {
    pool.stopped().wait_until(clock::time_point(clock::duration(deadline_ns)));
    return {};
  } catch (const cancelled&) {
    return std::make_error_code(std::errc::operation_canceled);
  }
}

}  // namespace
}  // namespace detail

process_pool::process_pool(const process_pool_options& options) {
  std::error_code error;
  if (detail::refused_in_simulation(error)) throw std::system_error(error, "thrum: process_pool");
  if (!detail::program_serves_workers())
    throw std::logic_error("thrum: main() has to call process_pool::serve_if_worker() before anything else");
  core_ = std::make_unique<detail::pool_core>(options);
}

process_pool::~process_pool() {
  core_->cancel();
  core_->wait_for_end_shielded();
}

void process_pool::perform(const call_limits& limits, detail::remote_message& m) {
  using detail::call_step;
  detail::pool_call call(*core_, limits, m);
  for (auto s = call.begin(); s != call_step::done;) {
    std::error_code error;
    long n = 0;
    detail::pool_worker* w = nullptr;
    switch (s) {
      case call_step::turn:
        w = core_->wait_for_turn(call.deadline_ns(), error);
        s = call.took(w, error);
        break;
      case call_step::pause:
        s = call.paused(detail::pause_of(*core_, call.deadline_ns()));
        break;
      case call_step::send:
        n = call.worker().calls.write(call.to_send(), call.deadline_ns(), error);
        s = call.sent(n, error);
        break;
      case call_step::receive:
        n = call.worker().answers.read(call.room(), call.deadline_ns(), error);
        s = call.received(n, error);
        break;
      case call_step::end:
        (void)call.worker().process().wait_for_end(call.deadline_ns(), error);
        s = call.ended(error);
        break;
      case call_step::done:
        break;
    }
  }
}

void process_pool::close() noexcept { core_->close(); }
void process_pool::cancel() noexcept { core_->cancel(); }
process_pool::statistics process_pool::stats() const noexcept { return core_->statistics(); }

void process_pool::join(std::error_code& error) {
  core_->close();
  if (!core_->wait_for_end(error)) return;
  for (auto& w : core_->workers()) w->hang_up();
  const auto deadline = detail::deadline_after(core_->options.grace);
  for (auto& w : core_->workers()) {
    if (!w->exists()) continue;
    if (!w->process().wait_for_end(deadline, error) && error == std::errc::operation_canceled) return;
    w->forget();
    core_->exists(-1);
  }
  error.clear();
}

void process_pool::join() {
  net::or_throw("thrum: process_pool: join", [&](auto& error) { join(error); });
}

}  // namespace thrum
