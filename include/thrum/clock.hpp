// The clock by which deadlines are kept: that of std::chrono::steady_clock, or virtual time in a simulation (sim.hpp).
//
//   const auto start = thrum::clock::now();
//   ch.receive_until(start + 5ms);
//
// A program that is to be simulated reads this one: times of the std clocks are real ones there too, unless it includes
// sim_escapes.hpp. Any thread; never suspends.
#pragma once

#include <chrono>

#include <thrum/detail/deadline.hpp>

namespace thrum {

struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept { return time_point(duration(detail::now_ns())); }
};

namespace detail {

// Saturates: what lies beyond the clock's range is time_point::max(), which is never reached.
template <class Rep, class Period>
clock::time_point time_after(std::chrono::duration<Rep, Period> d) noexcept {
  return clock::time_point(clock::duration(deadline_after(d)));
}

}  // namespace detail
}  // namespace thrum
