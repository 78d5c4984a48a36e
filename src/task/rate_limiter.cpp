// rate_limiter's twins: the same queue and the same steps as in scope/rate_limiter.cpp.
#include <thrum/rate_limiter.hpp>

#include <thrum/task.hpp>

#include "sched/task_wait.hpp"

namespace thrum {

// Takes, or queues.
struct rate_limiter::first_try : detail::suspends_task {
  rate_limiter& limiter;
  const std::size_t units;
  bool taken = false;

  bool await_ready() {
    sched::begin_task_call(sched::cancellation::point);
    taken = limiter.take_or_queue(units);
    return !taken || sched::go_on();
  }
  bool await_resume() const noexcept { return taken; }
};

// Until the bucket may hold enough.
struct rate_limiter::refill : detail::suspends_task {
  const rate_limiter& limiter;
  const std::int64_t when_ns;
  detail::async_timer timer{};

  bool await_ready() {
    static constexpr sched::wait_kind kind{"a rate limiter"};
    auto& self = sched::begin_task_call(sched::cancellation::point);
    self.open_episode(true);
    sched::park_task(self, {&kind, &limiter}, when_ns, &timer);
    return false;
  }
  void await_resume() { sched::throw_if_cancelled(sched::end_parking(&timer)); }
};

task<bool> rate_limiter::async_acquire_until_ns(std::size_t units, std::int64_t deadline_ns) {
  first_try attempt{{}, *this, checked(units)};
  const bool taken = co_await attempt;
  if (taken) co_return true;
  place mine{*this};
  mine.first = co_await detail::await_object_until(turn_, deadline_ns);
  while (mine.first) {
    const auto when = take_in_turn(units);
    if (when == 0) co_return true;
    if (when > deadline_ns) break;
    refill wait{{}, *this, when};
    co_await wait;
  }
  co_return false;
}

task<void> rate_limiter::async_acquire(std::size_t units) {
  (void)co_await async_acquire_until_ns(units, detail::never);
}

}  // namespace thrum
