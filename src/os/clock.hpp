// Monotonic time in nanoseconds, and deadlines in the same unit.
#pragma once

#include <cstdint>
#include <ctime>

namespace thrum::os {

// CLOCK_MONOTONIC in nanoseconds; std::chrono::steady_clock reads the same clock.
inline std::int64_t now_ns() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

}  // namespace thrum::os
