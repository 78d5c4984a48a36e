// A number by which a fiber finds its value of a fiber_local, or the binding of a context_key.
#pragma once

#include <atomic>
#include <cstdint>

namespace thrum::detail {

class local_key {
 public:
  constexpr local_key() noexcept = default;
  local_key(const local_key&) = delete;
  local_key& operator=(const local_key&) = delete;

  // Given at the first call, so that keys of static storage need no constructor to run; never given again, so that a
  // key that comes to lie where another was finds nothing of it.
  std::uint64_t number() const noexcept {
    const auto n = number_.load(std::memory_order_relaxed);
    return n != 0 ? n : draw_number();
  }

 private:
  std::uint64_t draw_number() const noexcept;

  mutable std::atomic<std::uint64_t> number_{0};
};

}  // namespace thrum::detail
