// Latencies in nanoseconds, in buckets that are at most 1.6% wide.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace load {

class histogram {
 public:
  void add(uint64_t ns) { ++buckets_[std::min(index(ns), buckets_.size() - 1)]; }
  void clear() { buckets_.fill(0); }
  double percentile_us(double p) const {
    uint64_t total = 0, seen = 0;
    for (auto n : buckets_) total += n;
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      if ((seen += buckets_[i]) > uint64_t(p / 100 * double(total))) return double(middle(i)) / 1e3;
    return 0;
  }

 private:
  static constexpr unsigned fraction_bits = 6;
  static std::size_t index(uint64_t ns) {
    if (ns < (1u << fraction_bits)) return ns;
    unsigned shift = unsigned(std::bit_width(ns)) - fraction_bits - 1;
    return (std::size_t(shift) << fraction_bits) + (ns >> shift);
  }
  static uint64_t middle(std::size_t i) {
    if (i < (2u << fraction_bits)) return i;
    unsigned shift = unsigned(i >> fraction_bits) - 1;
    return ((uint64_t(i & ((1u << fraction_bits) - 1)) + (1u << fraction_bits)) << shift) + (1ull << shift) / 2;
  }
  std::array<uint64_t, 40 << fraction_bits> buckets_{};
};

}  // namespace load
