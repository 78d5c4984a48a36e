// Sleeping and giving way in tasks: the twins of this_fiber's calls.
//
//   co_await thrum::async_sleep_for(10ms);
//   co_await thrum::async_yield();
//
// For tasks only: anywhere else the co_await ends the process with one clear sentence.
#pragma once

#include <chrono>
#include <cstdint>

#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>

namespace thrum {

namespace detail {

class [[nodiscard]] sleep_awaiter : public suspends_task {
 public:
  explicit sleep_awaiter(std::int64_t deadline_ns) noexcept { timer_.set_deadline_ns(deadline_ns); }
  bool await_ready();
  void await_resume();

 private:
  async_timer timer_;
};

class [[nodiscard]] yield_awaiter : public suspends_task {
 public:
  bool await_ready() const;
  void await_resume() const noexcept {}
};

}  // namespace detail

// Suspends the task for at least this long; durations of zero or less yield. A cancellation point.
template <class Rep, class Period>
auto async_sleep_for(std::chrono::duration<Rep, Period> d) {
  return detail::sleep_awaiter(detail::deadline_after(d));
}
template <class Clock, class Duration>
auto async_sleep_until(std::chrono::time_point<Clock, Duration> t) {
  return detail::sleep_awaiter(detail::deadline_at(t));
}
// Lets others run. Suspends; a cancellation point.
inline auto async_yield() { return detail::yield_awaiter(); }

}  // namespace thrum
