// A plain OS thread as a waiter: it sleeps on a futex on the low half of its own word.
//
// Waiters are never freed, only passed on to another thread: whoever has claimed one still looks at it, when its
// thread may have seen the claim, gone on and ended.
#pragma once

#include <atomic>
#include <cstdint>

#include "sched/fiber_control.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class thread_waiter : public waiter {
 public:
  // The calling thread's; its as long as the thread lives.
  static thread_waiter& mine() noexcept;

  // After open_episode() and enqueueing: sleeps until claimed, at the latest when the deadline claims.
  void park(std::int64_t deadline_ns) noexcept;
  void resume() noexcept;  // By the claimer.

  // For the proof of deadlocks: threads of this process that are asleep in park() without a deadline, and threads that
  // have declared that they will never wake a fiber (the calling one does or takes it back). None counts twice.
  static int parked_threads() noexcept;
  static int inert_threads() noexcept;
  static void declare_inert(bool is) noexcept;

  int tid() const noexcept { return tid_.load(std::memory_order_relaxed); }

 private:
  struct lease;

  thread_waiter() noexcept : waiter(waiter_kind::thread) {}
  static thread_waiter& take() noexcept;

  std::atomic<int> tid_{0};
  thread_waiter* next_free_ = nullptr;
};

}  // namespace thrum::sched
