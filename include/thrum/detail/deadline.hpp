// Deadlines as the runtime counts them: nanoseconds of its monotonic clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace thrum::detail {

inline constexpr std::int64_t never = INT64_MAX;

// The runtime's clock; std::chrono::steady_clock's unless the runtime was given another.
std::int64_t now_ns() noexcept;

// Saturates: what lies beyond the clock's range is `never`.
template <class Rep, class Period>
std::int64_t deadline_after(std::chrono::duration<Rep, Period> d) noexcept {
  using namespace std::chrono;
  const auto now = now_ns();
  if (d <= d.zero()) return now;
  if (duration_cast<duration<double>>(d).count() > 9.0e9) return never;  // Some 285 years.
  const auto ns = ceil<nanoseconds>(d).count();
  return ns > never - now ? never : now + ns;
}

template <class Clock, class Duration>
std::int64_t deadline_at(std::chrono::time_point<Clock, Duration> t) noexcept {
  if (t == std::chrono::time_point<Clock, Duration>::max()) return never;
  const auto now = Clock::now();
  if (t <= now) return now_ns();  // The difference to a time long ago would overflow.
  return deadline_after(t - now);
}

}  // namespace thrum::detail
