// A mutual exclusion lock for fibers and plain threads alike.
//
//   thrum::mutex m;
//   std::lock_guard hold(m);
//
// The fast path is one compare-and-swap on a word that also names the owner, so that dumps can tell who holds it. A
// woken waiter competes with running fibers, which is fast; one that has waited for a millisecond gets the lock
// handed over, in FIFO order, which is fair. (The scheme is that of Go's sync.Mutex.)
//
// Locking is not a cancellation point. Misuse ends the process with one clear sentence: unlocking a mutex that the
// caller does not hold, locking it twice, destroying it while locked.
#pragma once

#include <atomic>
#include <cstdint>

#include <thrum/detail/wait_queue.hpp>

namespace thrum {

class mutex {
 public:
  constexpr mutex() noexcept = default;
  ~mutex();
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock();               // May suspend.
  bool try_lock() noexcept;  // Never suspends.
  void unlock() noexcept;    // Never suspends.

 private:
  bool take(std::uintptr_t self) noexcept;
  bool take_or_announce(std::uintptr_t self, bool was_woken, bool starved) noexcept;
  void lock_slow(std::uintptr_t self);
  void unlock_slow() noexcept;

  std::atomic<std::uintptr_t> word_{0};  // The owner's address and three bits; see mutex.cpp.
  detail::wait_queue queue_;
};

}  // namespace thrum
