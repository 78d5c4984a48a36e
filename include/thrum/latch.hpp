// A count that falls to zero once, as std::latch.
//
//   thrum::latch ready(3);
//   for (int i = 0; i < 3; ++i) thrum::go([&] { prepare(); ready.count_down(); });
//   ready.wait();
//
// wait() and arrive_and_wait() suspend and are cancellation points; what was counted down before stands. The rest never
// suspends. All from any fiber or thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <stdexcept>

#include <thrum/wait_group.hpp>

namespace thrum {

// A latch was counted down below zero, or created with a negative count.
class latch_underflow : public std::logic_error {
 public:
  latch_underflow() : std::logic_error("thrum: latch: counted down below zero") {}
};

class latch {
 public:
  explicit latch(std::ptrdiff_t expected) : count_(checked(expected)) {}

  // Throws latch_underflow, and leaves the count as it was, when it would fall below zero.
  void count_down(std::ptrdiff_t n = 1) {
    if (!count_.change(-checked(n))) throw latch_underflow();
  }
  // True once the count is zero.
  bool try_wait() const noexcept {
    count_.queue_.lock.touch();
    return count_.count_.load(std::memory_order_acquire) == 0;
  }

  void wait() { count_.wait(); }
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    count_down(n);
    wait();
  }

  // False when the time is up.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) {
    return count_.wait_for(d);
  }
  template <class Clock, class Duration>
  bool wait_until(std::chrono::time_point<Clock, Duration> t) {
    return count_.wait_until(t);
  }

  // For tasks: co_await them.
  auto async_wait() { return count_.async_wait(); }
  auto async_arrive_and_wait(std::ptrdiff_t n = 1) {
    count_down(n);
    return async_wait();
  }
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d) {
    return count_.async_wait_for(d);
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::chrono::time_point<Clock, Duration> t) {
    return count_.async_wait_until(t);
  }

 private:
  static std::ptrdiff_t checked(std::ptrdiff_t n) {
    if (n < 0) throw latch_underflow();
    return n;
  }

  wait_group count_;
};

}  // namespace thrum
