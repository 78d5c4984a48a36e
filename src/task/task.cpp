// Tasks as activities: starting, transferring, joining, sleeping.
#include <thrum/task.hpp>
#include <thrum/task_cpu.hpp>
#include <thrum/task_handle.hpp>
#include <thrum/task_sleep.hpp>

#include "base/assert.hpp"
#include "runtime/make_task.hpp"
#include "sched/cancel.hpp"
#include "sched/fiber_end.hpp"
#include "sched/frame_pool.hpp"
#include "sched/lifecycle.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

bool is_cancellation(const std::exception_ptr& failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (const cancelled&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void* allocate_frame(std::size_t size) { return sched::allocate_frame(size); }
void free_frame(void* frame, std::size_t size) noexcept { sched::free_frame(frame, size); }

void* transfer(void* coroutine) noexcept {
  auto* w = sched::this_worker();
  if (!w || !w->task()) [[unlikely]]
    base::panic("a thrum task was resumed by something that is not thrum's");
  return w->transfer_through_worker(coroutine) ? nullptr : coroutine;
}

void root_ended(void* coroutine, const std::exception_ptr& failure) noexcept {
  sched::this_worker()->plan_end(coroutine, failure && !is_cancellation(failure) ? &failure : nullptr);
}

sched::task_control* start_task(void* coroutine, std::source_location where, bool detached) {
  auto& t = make_task(coroutine, where);
  if (detached) t.joiner.store(sched::activity::nobody_will_join(), std::memory_order_relaxed);
  t.home->start(t);
  return &t;
}

void join_task(sched::task_control& t) { sched::join(t, sched::never, false); }

void stop_task(sched::task_control& t) noexcept { sched::stop(t); }

void drop_task(sched::task_control& t, std::coroutine_handle<> root) noexcept {
  stop_task(t);
  if (sched::current_task()) {
    if (sched::drop(t)) return;
  } else {
    sched::join(t, sched::never, true);
  }
  root.destroy();
  release_task(t);
}

bool detach_task(sched::task_control& t) noexcept { return sched::detach(t); }
void release_task(sched::task_control& t) noexcept { t.home->release(t); }
sched::activity* activity_of(sched::task_control* t) noexcept { return t; }
std::uint64_t task_id(const sched::task_control& t) noexcept { return t.id.load(std::memory_order_relaxed); }

bool begin_join_task(sched::task_control& t, async_wait& w) { return sched::begin_join(t, w); }
void end_join_task(sched::task_control& t, const async_wait& w) { sched::end_join(t, w); }

// ---------------------------------------------------------------------------------------------------------------

bool sleep_awaiter::await_ready() {
  const auto deadline_ns = timer_.deadline_ns();
  if (deadline_ns <= sched::now_ns()) return yield_awaiter().await_ready();
  auto& self = sched::begin_task_call(sched::cancellation::point);
  self.open_episode(true);
  timer_.waiting = true;
  static constexpr sched::wait_kind kind{"a sleep to end"};
  sched::park_task(self, {&kind}, deadline_ns, &timer_);
  return false;
}

void sleep_awaiter::await_resume() {
  if (timer_.waiting) sched::throw_if_cancelled(sched::end_parking(&timer_));
}

bool maybe_yield_awaiter::await_ready() const {
  sched::begin_task_call(sched::cancellation::point);
  return sched::go_on();
}

bool yield_awaiter::await_ready() const {
  sched::begin_task_call(sched::cancellation::point);
  sched::yield_task();
  return false;
}

}  // namespace thrum::detail
