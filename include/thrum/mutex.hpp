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
// caller does not hold, locking it twice, destroying it while locked. Clang can find some of it beforehand: lock.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/thread_safety.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

class THRUM_CAPABILITY("mutex") mutex {
 public:
  constexpr mutex() noexcept = default;
  ~mutex();
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() THRUM_ACQUIRE();                       // May suspend.
  bool try_lock() noexcept THRUM_TRY_ACQUIRE(true);  // Never suspends.
  void unlock() noexcept THRUM_RELEASE();            // Never suspends.

  // For tasks: co_await them. A task that has to wait gets the mutex handed over, in FIFO order.
  auto async_lock() { return detail::await_object(*this); }
  // Gives a std::unique_lock that holds it.
  auto async_scoped_lock() {
    return detail::awaiter(
        [this](detail::async_wait& w, detail::async_timer* t) { return begin_wait(w, t, detail::never); },
        [this] { return std::unique_lock<mutex>(*this, std::adopt_lock); });
  }

 protected:
  template <class Object>
  friend auto detail::await_object(Object& o);
  template <class Object>
  friend auto detail::await_object_until(Object& o, std::int64_t deadline_ns);
  bool begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns);
  bool lock_until_ns(std::int64_t deadline_ns);  // False: timed out.
  bool is_held_by_caller() const noexcept;

 private:
  bool take(std::uintptr_t self) noexcept;
  bool take_or_announce(std::uintptr_t self, bool was_woken, bool starved) noexcept;
  bool lock_slow(std::uintptr_t self, std::int64_t deadline_ns);
  void unlock_slow() noexcept;

  detail::atomic<std::uintptr_t> word_{0};  // The owner's address and three bits; see mutex.cpp.
  detail::wait_queue queue_;
};

// A mutex for which one can wait for a limited time, as std::timed_mutex. The timed calls may suspend, and are no
// cancellation points either; they return false when the time is up.
class THRUM_CAPABILITY("mutex") timed_mutex : public mutex {
 public:
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> d) THRUM_TRY_ACQUIRE(true) {
    return lock_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> t) THRUM_TRY_ACQUIRE(true) {
    return lock_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them.
  template <class Rep, class Period>
  auto async_try_lock_for(std::chrono::duration<Rep, Period> d) {
    return detail::await_object_until(static_cast<mutex&>(*this), detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_try_lock_until(std::chrono::time_point<Clock, Duration> t) {
    return detail::await_object_until(static_cast<mutex&>(*this), detail::deadline_at(t));
  }
};

// A mutex that its owner can lock again, as std::recursive_mutex; unlock() as often as it was locked.
class THRUM_CAPABILITY("mutex") recursive_mutex : private mutex {
 public:
  void lock() THRUM_ACQUIRE() {
    if (!is_held_by_caller()) mutex::lock();
    ++depth_;
  }
  bool try_lock() noexcept THRUM_TRY_ACQUIRE(true) {
    if (!is_held_by_caller() && !mutex::try_lock()) return false;
    ++depth_;
    return true;
  }
  void unlock() noexcept THRUM_RELEASE() {
    // Not the owner, or not locked: mutex::unlock() says so and ends the process.
    if (!is_held_by_caller() || --depth_ == 0) mutex::unlock();
  }

  // For tasks: co_await it.
  auto async_lock() {
    return detail::awaiter(
        [this](detail::async_wait& w, detail::async_timer* t) {
          return is_held_by_caller() || begin_wait(w, t, detail::never);
        },
        [this] { ++depth_; });
  }

 private:
  std::size_t depth_ = 0;  // The owner's.
};

}  // namespace thrum
