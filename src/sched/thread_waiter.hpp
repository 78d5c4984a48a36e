// A plain OS thread as a waiter: it sleeps on a futex on the low half of its own word.
#pragma once

#include <atomic>
#include <cstdint>

#include "sched/fiber_control.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class thread_waiter : public waiter {
 public:
  thread_waiter() noexcept;

  // The calling thread's; lives as long as the thread.
  static thread_waiter& mine() noexcept;

  // After open_episode() and enqueueing: sleeps until claimed, at the latest when the deadline claims.
  void park(std::int64_t deadline_ns) noexcept;
  void resume() noexcept;  // By the claimer.

  // Threads of this process that are asleep in park(), for the proof of deadlocks.
  static int parked_threads() noexcept;

  const int tid;
};

}  // namespace thrum::sched
