// A fiber's name: set by its owner, read by dumps at any moment.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>

namespace thrum::sched {

class fiber_name {
 public:
  static constexpr std::size_t length_max = 31;
  using text = std::array<char, length_max + 1>;

  void set(std::string_view name) noexcept {
    const auto n = name.size() < length_max ? name.size() : length_max;
    for (std::size_t i = 0; i < n; ++i) bytes_[i].store(name[i], std::memory_order_relaxed);
    bytes_[n].store('\0', std::memory_order_relaxed);
  }
  void clear() noexcept { bytes_[0].store('\0', std::memory_order_relaxed); }

  // A copy; a mixture of two names when it is being changed, never out of bounds.
  text get() const noexcept {
    text t{};
    for (std::size_t i = 0; i < length_max && (t[i] = bytes_[i].load(std::memory_order_relaxed)); ++i) {
    }
    return t;
  }

 private:
  std::array<std::atomic<char>, length_max + 1> bytes_{};
};

}  // namespace thrum::sched
