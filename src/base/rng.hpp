// A small pseudo-random generator (xorshift64*, Marsaglia/Vigna): victim order, select order, stack colours.
// Seedable, so that a simulation replays. Not for secrets.
#pragma once

#include <cstdint>

namespace thrum::base {

class rng {
 public:
  explicit constexpr rng(std::uint64_t seed = 1) noexcept : state_(seed ? seed : 0x9e3779b97f4a7c15u) {}

  constexpr std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }

  // Uniform in [0, bound), by Lemire's multiplication; bound must not be 0.
  constexpr std::uint32_t below(std::uint32_t bound) noexcept {
    return static_cast<std::uint32_t>(((next() >> 32) * bound) >> 32);
  }

 private:
  std::uint64_t state_;
};

}  // namespace thrum::base
