// A lock that many readers or one writer can hold, for fibers and plain threads, as std::shared_mutex.
//
//   thrum::shared_mutex m;
//   { std::shared_lock hold(m); read(); }
//   { std::unique_lock hold(m); write(); }
//
// Who comes may overtake those who wait, which is fast; but once somebody has waited for a millisecond, and has been
// overtaken 16 times, nobody overtakes any more, and the lock is handed over in FIFO order, to one writer or to all
// readers up to the next: neither readers nor writers starve. So a reader must not take the lock a second time: it may
// have to wait for a writer that waits for it. The fast paths are one atomic operation. (Competing and handing over is
// as in Go's sync.Mutex.)
//
// Locking is not a cancellation point. Misuse ends the process with one clear sentence: unlocking what is not locked,
// locking for writing twice, destroying it while locked.
#pragma once

#include <cstdint>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/thread_safety.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

namespace sched {
class waiter;
struct runnable_batch;
}  // namespace sched

class THRUM_CAPABILITY("shared_mutex") shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  ~shared_mutex();
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;

  void lock() THRUM_ACQUIRE();                       // May suspend.
  bool try_lock() noexcept THRUM_TRY_ACQUIRE(true);  // Never suspends.
  void unlock() noexcept THRUM_RELEASE();            // Never suspends.

  void lock_shared() THRUM_ACQUIRE_SHARED();                       // May suspend.
  bool try_lock_shared() noexcept THRUM_TRY_ACQUIRE_SHARED(true);  // Never suspends.
  void unlock_shared() noexcept THRUM_RELEASE_SHARED();            // Never suspends.

  // For tasks: co_await them. A task that has to wait gets the lock handed over; nobody overtakes one that is to write.
  auto async_lock() {
    return detail::awaiter([this](detail::async_wait& w, detail::async_timer*) { return begin_wait(w, true); });
  }
  auto async_lock_shared() {
    return detail::awaiter([this](detail::async_wait& w, detail::async_timer*) { return begin_wait(w, false); });
  }

 private:
  struct waited_for;  // How its waits are told.
  bool begin_wait(detail::async_wait& w, bool writing);
  bool take(bool writing, const sched::waiter* self) noexcept;
  bool join_readers() noexcept;
  bool take_or_announce(bool writing, std::uint64_t marks, const sched::waiter& self) noexcept;
  void lock_slow(bool writing);
  void unlock_slow(std::uint64_t share) noexcept;
  void wake_next(sched::runnable_batch& out) noexcept;
  bool wake_writer(bool starved, sched::runnable_batch& out) noexcept;
  bool wake_readers(bool starved, sched::runnable_batch& out) noexcept;
  void look_at_head() noexcept;
  bool share() noexcept;

  detail::atomic<std::uint64_t> word_{0};  // See shared_mutex.cpp.
  detail::atomic<const sched::waiter*> writer_{nullptr};
  detail::wait_queue queue_;
};

}  // namespace thrum
