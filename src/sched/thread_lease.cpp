// Which waiter belongs to the calling thread, and the pool of those that belong to none.
#include "sched/thread_waiter.hpp"

#include <mutex>
#include <utility>

#include <thrum/detail/spinlock.hpp>

#include "base/fork.hpp"
#include "os/thread.hpp"

namespace thrum::sched {
namespace {

detail::spinlock free_waiters_lock;
thread_waiter* free_waiters = nullptr;  // Guarded by free_waiters_lock.

}  // namespace

// The calling thread's waiter, from its first use to the thread's end.
struct thread_waiter::lease {
  ~lease() {
    waiter->tid_.store(0, std::memory_order_release);  // After all that the thread has unlocked.
    std::lock_guard held(free_waiters_lock);
    waiter->next_free_ = free_waiters;
    free_waiters = std::exchange(waiter, nullptr);
  }
  static thread_local thread_waiter* waiter;
};
thread_local thread_waiter* thread_waiter::lease::waiter = nullptr;

thread_waiter& thread_waiter::take() noexcept {
  thread_waiter* w;
  {
    std::lock_guard held(free_waiters_lock);
    w = free_waiters;
    if (w) free_waiters = w->next_free_;
  }
  if (!w) w = new thread_waiter;
  w->tid_.store(os::thread_id(), std::memory_order_relaxed);
  return *w;
}

thread_waiter& thread_waiter::mine() noexcept {
  base::refuse_after_fork();
  if (!lease::waiter) [[unlikely]] {
    lease::waiter = &take();
    // A destructor of a thread_local that runs after this one's gets a waiter that is not given back.
    static thread_local lease until_the_thread_ends;
    (void)&until_the_thread_ends;
  }
  return *lease::waiter;
}

}  // namespace thrum::sched
