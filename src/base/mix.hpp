// Hashing of numbers, as seeds and states need it: each bit of the result depends on all bits of the arguments.
#pragma once

#include <cstdint>

namespace thrum::base {

// Steele, Lea and Flood's splitmix64.
constexpr std::uint64_t scrambled(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Of both, and of their order.
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  return scrambled(a * 0x9e3779b97f4a7c15u + b + 1);
}

}  // namespace thrum::base
