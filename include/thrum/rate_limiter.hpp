// So many units per second, with bursts up to a limit: a token bucket.
//
//   thrum::rate_limiter limit({.per_second = 100, .burst = 20});
//   limit.acquire();                       // Waits until there is a unit, and takes it.
//   if (!limit.try_acquire(5)) shed();
//
// The bucket is full at the beginning and holds `burst` units at most. Those who wait are served first in, first out:
// nobody overtakes, not even who wants less. A call that is cancelled, or whose time is up, has taken nothing.
//
// acquire() and the timed calls suspend, and are cancellation points; try_acquire() never suspends and is none. All
// from any fiber or thread; tasks have twins, which queue together with the others. Throw std::invalid_argument for
// more units than `burst`, which would never be there.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <thrum/detail/deadline.hpp>
#include <thrum/detail/object_lock.hpp>
#include <thrum/semaphore.hpp>

namespace thrum {

template <class T>
class task;

struct rate_limiter_options {
  double per_second;      // Units; more than zero.
  std::size_t burst = 1;  // Units; at least one.
};

class rate_limiter {
 public:
  explicit rate_limiter(const rate_limiter_options& options);  // Throws std::invalid_argument.
  ~rate_limiter();                                             // Ends the process when somebody waits.
  rate_limiter(const rate_limiter&) = delete;
  rate_limiter& operator=(const rate_limiter&) = delete;

  void acquire(std::size_t units = 1) { acquire_until_ns(units, detail::never); }

  // False when there are not so many, or somebody waits.
  bool try_acquire(std::size_t units = 1);

  // False when the time is up; at once when it is this call's turn and the units come too late.
  template <class Rep, class Period>
  bool try_acquire_for(std::chrono::duration<Rep, Period> d, std::size_t units = 1) {
    return acquire_until_ns(units, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool try_acquire_until(std::chrono::time_point<Clock, Duration> t, std::size_t units = 1) {
    return acquire_until_ns(units, detail::deadline_at(t));
  }

  // For tasks, with <thrum/task.hpp>: co_await them. The limiter must outlive the call.
  task<void> async_acquire(std::size_t units = 1);
  template <class Rep, class Period>
  auto async_try_acquire_for(std::chrono::duration<Rep, Period> d, std::size_t units = 1) {
    return async_acquire_until_ns(units, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_try_acquire_until(std::chrono::time_point<Clock, Duration> t, std::size_t units = 1) {
    return async_acquire_until_ns(units, detail::deadline_at(t));
  }

 private:
  // Among those who wait.
  struct place {
    rate_limiter& limiter;
    bool first = false;
    ~place() { limiter.leave_queue(first); }
  };
  struct first_try;
  struct refill;

  bool acquire_until_ns(std::size_t units, std::int64_t deadline_ns);
  task<bool> async_acquire_until_ns(std::size_t units, std::int64_t deadline_ns);
  bool take_or_queue(std::size_t units) noexcept;
  std::int64_t take_in_turn(std::size_t units) noexcept;
  void leave_queue(bool was_first) noexcept;
  bool wait_for_units(std::size_t units, std::int64_t deadline_ns);
  std::int64_t take_or_tell_when(std::size_t units) noexcept;
  std::size_t checked(std::size_t units) const;

  // Constant after construction.
  const double per_ns_;
  const std::size_t burst_;

  // Guarded by lock_.
  detail::object_lock lock_;
  double units_;  // In the bucket, as of then:
  std::int64_t as_of_ns_;
  std::size_t waiting_ = 0;  // The first of them included: while there are any, nobody else takes.

  detail::semaphore_core turn_{1, 1};  // Held by the first of those who wait, while it sleeps.
};

}  // namespace thrum
