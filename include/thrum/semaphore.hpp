// Counting semaphores for fibers and plain threads, as std::counting_semaphore.
//
//   thrum::counting_semaphore<> connections(100);
//   connections.acquire();
//   ...
//   connections.release();
//
// acquire() and the timed calls suspend while there is no permit, and are cancellation points: then none was taken.
// release() and try_acquire() never suspend and are none. All from any fiber or thread. Those who wait are served first
// in, first out: a permit that is released goes to the first of them, and nobody overtakes. (std promises no order.)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

// release() would have exceeded the semaphore's maximum, or was given a negative number.
class semaphore_overflow : public std::logic_error {
 public:
  semaphore_overflow() : std::logic_error("thrum: semaphore: released beyond its maximum") {}
};

namespace detail {

// Invariant: somebody waits only while there is no permit.
class semaphore_core {
 public:
  semaphore_core(std::ptrdiff_t permits, std::ptrdiff_t max);
  ~semaphore_core();  // Ends the process when somebody waits.
  semaphore_core(const semaphore_core&) = delete;
  semaphore_core& operator=(const semaphore_core&) = delete;

  bool try_acquire() noexcept;
  bool acquire_until_ns(std::int64_t deadline_ns);  // False: timed out.
  bool begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns);
  void release(std::ptrdiff_t count);

 private:
  struct waited_for;  // How its waits are told.
  bool announce() noexcept;

  const std::ptrdiff_t max_;
  atomic<std::ptrdiff_t> word_;  // Twice the permits; odd while somebody may wait.
  wait_queue queue_;
};

}  // namespace detail

template <std::ptrdiff_t LeastMax = PTRDIFF_MAX / 2>
class counting_semaphore {
  static_assert(LeastMax >= 0 && LeastMax <= PTRDIFF_MAX / 2);

 public:
  static constexpr std::ptrdiff_t max() noexcept { return LeastMax; }

  // Throws semaphore_overflow unless 0 <= permits <= max().
  explicit counting_semaphore(std::ptrdiff_t permits) : core_(permits, LeastMax) {}

  void acquire() { core_.acquire_until_ns(detail::never); }
  bool try_acquire() noexcept { return core_.try_acquire(); }

  // False when the time is up.
  template <class Rep, class Period>
  bool try_acquire_for(std::chrono::duration<Rep, Period> d) {
    return core_.acquire_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool try_acquire_until(std::chrono::time_point<Clock, Duration> t) {
    return core_.acquire_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them.
  auto async_acquire() { return detail::await_object(core_); }
  template <class Rep, class Period>
  auto async_try_acquire_for(std::chrono::duration<Rep, Period> d) {
    return detail::await_object_until(core_, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_try_acquire_until(std::chrono::time_point<Clock, Duration> t) {
    return detail::await_object_until(core_, detail::deadline_at(t));
  }

  // Throws semaphore_overflow, and releases nothing, when there would be more than max() permits.
  void release(std::ptrdiff_t count = 1) { core_.release(count); }

 private:
  detail::semaphore_core core_;
};

using binary_semaphore = counting_semaphore<1>;

}  // namespace thrum
