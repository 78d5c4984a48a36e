// A plain OS thread as a waiter: it sleeps on a futex on the low half of its own word.
//
// Waiters are never freed, only passed on to another thread: whoever has claimed one still looks at it, when its
// thread may have seen the claim, gone on and ended.
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

#include "sched/fiber_control.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class thread_waiter : public waiter {
 public:
  // The calling thread's; its as long as the thread lives.
  static thread_waiter& mine() noexcept;

  // After open_episode() and enqueueing: sleeps until claimed, at the latest when the deadline claims.
  void park(std::int64_t deadline_ns, wait_reason reason) noexcept;
  void resume() noexcept;  // By the claimer, or the inspector.

  // For the proof of deadlocks: threads of this process that wait in park() without a deadline, and threads that have
  // declared that they will never wake a fiber (the calling one does or takes it back). None counts twice. A thread
  // that has been claimed does not wait any more, whether it has noticed or not. Between two equal censuses of those
  // who wait none of them has been woken.
  struct census {
    int waiting = 0;
    std::uint64_t waits = 0;  // Different when others wait, or the same ones again.
    bool operator==(const census&) const noexcept = default;
  };
  static census take_census() noexcept;
  static int inert_threads() noexcept;
  static void declare_inert(bool is) noexcept;

  // Every waiter that a thread has, or had.
  template <class Visit>
  static void for_each(Visit visit) {
    for (auto* w = newest(); w; w = w->next_of_all_) visit(*w);
  }

  int tid() const noexcept { return tid_.load(std::memory_order_acquire); }  // 0: the thread has ended.
  const wait_reason& reason() const noexcept { return reason_; }             // Under inspection.

 private:
  struct lease;

  thread_waiter() noexcept;
  static thread_waiter& take() noexcept;
  static thread_waiter* newest() noexcept;

  detail::atomic<int> tid_{0};
  wait_reason reason_{&waits_for_nothing};  // Valid while parked.
  detail::atomic<bool> for_ever_{false};    // Waits without a deadline, and is not inert. Set before it parks.
  thread_waiter* next_of_all_;
  thread_waiter* next_free_ = nullptr;
};

}  // namespace thrum::sched
