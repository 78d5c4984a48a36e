// Locks for a block, which Clang's thread safety analysis understands; those of std work as well, but unseen by it.
//
//   struct account {
//     thrum::mutex m;
//     long balance THRUM_GUARDED_BY(m) = 0;
//     void deposit(long n) {
//       thrum::lock_guard hold(m);
//       balance += n;                 // Without the line above: an error under clang -Wthread-safety -Werror.
//     }
//   };
//
// They are std's, with annotations, and cost what those cost. What locks may suspend; none is a cancellation point.
//
// The analysis looks at one function at a time: say with THRUM_REQUIRES(m) what a function needs of its caller. It does
// not follow a lock that is moved, returned or stored; a function that does so is marked
// THRUM_NO_THREAD_SAFETY_ANALYSIS. A predicate of condition_variable::wait is a lambda of its own: [&]()
// THRUM_REQUIRES(m) { return ready; }. All macros are in detail/thread_safety.hpp, and are nothing under GCC.
#pragma once

#include <mutex>
#include <shared_mutex>

#include <thrum/detail/thread_safety.hpp>

namespace thrum {

// Holds the lock to the end of the block.
template <class Mutex>
class THRUM_SCOPED_CAPABILITY lock_guard {
 public:
  explicit lock_guard(Mutex& m) THRUM_ACQUIRE(m) : m_(m) { m_.lock(); }
  lock_guard(Mutex& m, std::adopt_lock_t) THRUM_REQUIRES(m) : m_(m) {}  // The caller has locked it.
  ~lock_guard() THRUM_RELEASE() { m_.unlock(); }
  lock_guard(const lock_guard&) = delete;
  lock_guard& operator=(const lock_guard&) = delete;

 private:
  Mutex& m_;
};

// A std::unique_lock, and passes for one: it can be unlocked before the end of the block, locked again, and waited with
// (condition_variable). Not movable, since the analysis would lose sight of it.
template <class Mutex>
class THRUM_SCOPED_CAPABILITY unique_lock : public std::unique_lock<Mutex> {
  using base = std::unique_lock<Mutex>;

 public:
  explicit unique_lock(Mutex& m) THRUM_ACQUIRE(m) : base(m) {}
  unique_lock(Mutex& m, std::defer_lock_t tag) noexcept THRUM_EXCLUDES(m) : base(m, tag) {}
  unique_lock(Mutex& m, std::adopt_lock_t tag) THRUM_REQUIRES(m) : base(m, tag) {}
  ~unique_lock() THRUM_RELEASE() {}
  unique_lock(const unique_lock&) = delete;
  unique_lock& operator=(const unique_lock&) = delete;

  void lock() THRUM_ACQUIRE() { base::lock(); }
  bool try_lock() THRUM_TRY_ACQUIRE(true) { return base::try_lock(); }
  void unlock() THRUM_RELEASE() { base::unlock(); }
};

// A std::shared_lock in the same manner: for reading what a shared_mutex guards.
template <class Mutex>
class THRUM_SCOPED_CAPABILITY shared_lock : public std::shared_lock<Mutex> {
  using base = std::shared_lock<Mutex>;

 public:
  explicit shared_lock(Mutex& m) THRUM_ACQUIRE_SHARED(m) : base(m) {}
  ~shared_lock() THRUM_RELEASE_GENERIC() {}
  shared_lock(const shared_lock&) = delete;
  shared_lock& operator=(const shared_lock&) = delete;

  void lock() THRUM_ACQUIRE_SHARED() { base::lock(); }
  bool try_lock() THRUM_TRY_ACQUIRE_SHARED(true) { return base::try_lock(); }
  void unlock() THRUM_RELEASE_GENERIC() { base::unlock(); }
};

}  // namespace thrum
