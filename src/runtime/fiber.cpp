// fiber.hpp: launching, handles, this_fiber.
#include <thrum/fiber.hpp>
#include <thrum/inspector.hpp>

#include <stdexcept>
#include <system_error>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "os/thread.hpp"
#include "runtime/locals.hpp"
#include "runtime/make_task.hpp"
#include "sched/cancel.hpp"
#include "sched/fiber_end.hpp"
#include "sched/lifecycle.hpp"
#include "sched/park.hpp"
#include "sched/scheduler.hpp"
#include "sched/task_wait.hpp"
#include "sched/wait.hpp"

namespace thrum {
namespace detail {

std::int64_t now_ns() noexcept {
  touch(&the_clock);
  return sched::now_ns();
}

unsigned processor_count() noexcept {
  const auto* w = sched::this_worker();
  return w ? w->home.processor_count() : 1;
}

namespace {

sched::scheduler& scheduler_here() {
  auto* w = sched::this_worker();
  if (!w) base::refuse_after_fork();
  if (!w) throw std::logic_error("thrum: go and spawn need a running runtime: call them from a fiber");
  return w->home;
}

// It has been created, but not started. Unless it can inherit what its creator has, it is abandoned.
template <class Abandon>
void inherit(sched::activity& a, Abandon abandon) {
  const auto* mine = my_locals();
  if (!mine) [[likely]]
    return;
  try {
    inherit_locals(*mine, a);
  } catch (...) {
    abandon();
    throw;
  }
}

}  // namespace

unstarted create_fiber(sched::scheduler* home, std::size_t closure_size, std::size_t closure_align,
                       const fiber_options& options, std::source_location where) {
  if (!home) home = &scheduler_here();
  auto& f = home->create({.closure_size = closure_size,
                          .closure_align = closure_align,
                          .stack_size = options.stack_size,
                          .name = options.name,
                          .where = where});
  const unstarted u{&f, f.closure};
  inherit(f, [u] { abandon_fiber(u); });
  return u;
}

void abandon_fiber(unstarted u) noexcept {
  auto& f = *u.control;
  if (f.locals) f.locals->end(f.locals);
  f.home->abandon(f);
}

sched::task_control& make_task(void* coroutine, std::source_location where) {
  auto& t = scheduler_here().create_task(coroutine, where);
  inherit(t, [&] { abandon_task(t); });
  return t;
}

void abandon_task(sched::task_control& t) noexcept {
  if (t.locals) t.locals->end(t.locals);
  t.home->abandon(t);
}

void start_fiber(unstarted u, void (*run)(void*), bool detached) noexcept {
  auto& f = *u.control;
  f.run = run;
  if (detached) f.joiner.store(sched::fiber_control::nobody_will_join(), std::memory_order_relaxed);
  f.home->start(f);
}

}  // namespace detail

namespace {

[[noreturn]] void release_and_rethrow(sched::fiber_control& f) {
  auto failure = std::exchange(f.failure, nullptr);
  f.home->release(f);
  std::rethrow_exception(std::move(failure));
}

}  // namespace

namespace {

void require_joinable(const sched::fiber_control* f) {
  if (!f) throw std::system_error(std::make_error_code(std::errc::invalid_argument), "thrum: fiber not joinable");
}

}  // namespace

void fiber::join() {
  require_joinable(control_);
  sched::join(*control_, sched::never, false);
  take_result();
}

void fiber::take_result() {
  auto* f = std::exchange(control_, nullptr);
  if (f->failure) [[unlikely]]
    release_and_rethrow(*f);
  f->home->release(*f);
}

sched::activity* fiber::activity() const noexcept { return control_; }

bool fiber::begin_join(detail::async_wait& w) {
  require_joinable(control_);
  return sched::begin_join(*control_, w);
}

void fiber::end_join(const detail::async_wait& w) {
  sched::end_join(*control_, w);
  take_result();
}

void fiber::request_stop() noexcept {
  if (control_) sched::stop(*control_);
}

void fiber::detach() {
  require_joinable(control_);
  if (sched::detach(*control_))
    control_ = nullptr;
  else
    take_result();
}

std::uint64_t fiber::get_id() const noexcept { return control_ ? control_->id.load(std::memory_order_relaxed) : 0; }

void fiber::end() noexcept {
  request_stop();
  sched::join(*control_, sched::never, true);
  auto* f = std::exchange(control_, nullptr);
  f->home->release(*f);
}

inspector::inspector() : inspector(detail::scheduler_here()) {}

namespace this_fiber {

void yield() {
  auto* w = sched::this_worker();
  if (!w) {
    base::refuse_after_fork();
    return os::yield_thread();
  }
  if (!w->current()) [[unlikely]]
    (void)sched::thread_that_may_wait();  // A task: aborts.
  if (w->current()->cancel_pending.load(std::memory_order_acquire)) throw cancelled{};
  w->enter();
  sched::worker::yield(*w).leave();
}

void detail_sleep::until_ns(std::int64_t deadline_ns) {
  if (deadline_ns <= sched::now_ns()) return yield();
  static constexpr sched::wait_kind kind{"a sleep to end"};
  sched::wait_for_time(deadline_ns, {&kind});
}

std::uint64_t get_id() noexcept {
  const auto* a = sched::current_activity();
  return a ? a->id.load(std::memory_order_relaxed) : 0;
}

void set_name(std::string_view name) noexcept {
  if (auto* f = sched::current_fiber()) f->name.set(name);
}

bool stop_requested() noexcept {
  const auto* a = sched::current_activity();
  return a && a->cancel_pending.load(std::memory_order_acquire);
}

bool in_fiber() noexcept { return sched::current_fiber() != nullptr; }

}  // namespace this_fiber
}  // namespace thrum
