// The twins of process_pool.cpp's calls for tasks.
#include <thrum/process_pool.hpp>

#include <thrum/clock.hpp>
#include <thrum/detail/transfer.hpp>
#include <thrum/task_sync.hpp>

#include "process/pool_call.hpp"

namespace thrum {
task<void> process_pool::async_pause(std::int64_t deadline_ns, std::error_code& error) {
  try {
    (void)co_await core_->stopped().async_wait_until(clock::time_point(clock::duration(deadline_ns)));
  } catch (const cancelled&) {
    error = std::make_error_code(std::errc::operation_canceled);
  }
}

task<void> process_pool::async_perform(const call_limits& limits, detail::remote_message& m) {
  detail::pool_call call(*core_, limits, m);
  for (auto s = call.begin(); s != detail::call_step::done;) {
    std::error_code error;
    if (s == detail::call_step::turn) {
      detail::pool_core::turn turn(*core_, call.deadline_ns(), error);
      auto* const w = co_await turn;
      s = call.took(w, error);
    } else if (s == detail::call_step::pause) {
      co_await async_pause(call.deadline_ns(), error);
      s = call.paused(error);
    } else if (s == detail::call_step::send) {
      const long n = co_await call.worker().calls.async_write(call.to_send(), call.deadline_ns(), error);
      s = call.sent(n, error);
    } else if (s == detail::call_step::receive) {
      const long n = co_await call.worker().answers.async_read(call.room(), call.deadline_ns(), error);
      s = call.received(n, error);
    } else {
      (void)co_await call.worker().process().async_wait_for_end(call.deadline_ns(), error);
      s = call.ended(error);
    }
  }
}

task<void> process_pool::async_join(std::error_code& error) {
  core_->close();
  error.clear();
  detail::pool_core::end_awaiter end(*core_, error);
  const bool all_returned = co_await end;
  if (!all_returned) co_return;
  for (auto& w : core_->workers()) w->hang_up();
  const auto deadline = detail::deadline_after(core_->options.grace);
  for (auto& w : core_->workers()) {
    if (!w->exists()) continue;
    const bool ended = co_await w->process().async_wait_for_end(deadline, error);
    if (!ended && error == std::errc::operation_canceled) co_return;
    w->forget();
    core_->exists(-1);
  }
  error.clear();
}

task<void> process_pool::async_join() {
  std::error_code error;
  co_await async_join(error);
  detail::raise_if(error, "thrum: process_pool: join");
}

}  // namespace thrum
