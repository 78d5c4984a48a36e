// Values that tests pass around.
#pragma once

#include <atomic>
#include <stdexcept>

namespace thrum::test {

// Counts its instances, to find what is lost or destroyed twice.
struct counted {
  static inline std::atomic<int> alive{0};
  int value;
  explicit counted(int v) : value(v) { ++alive; }
  counted(counted&& other) noexcept : value(other.value) { ++alive; }
  ~counted() { --alive; }
};

struct hard_to_copy {
  hard_to_copy() = default;
  hard_to_copy(const hard_to_copy&) { throw std::runtime_error("no copy"); }
  hard_to_copy(hard_to_copy&&) noexcept = default;
};

}  // namespace thrum::test
