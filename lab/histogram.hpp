// A histogram of durations with a fixed relative error below 1%, from 1 ns to hours, in 24 KiB.
//
// Log-linear buckets (as in HdrHistogram): 128 equal steps in each power of two. Not thread-safe: every
// measuring loop has its own.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace thrum::lab {

class histogram {
 public:
  void add(std::chrono::nanoseconds d) {
    auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(d.count(), 0));
    ++buckets_[std::min(bucket_of(value), buckets_.size() - 1)];
    ++count_;
    max_ = std::max(max_, value);
  }

  std::uint64_t count() const { return count_; }
  double max_us() const { return static_cast<double>(max_) / 1e3; }

  // The value that `percent` of all samples do not exceed, in microseconds; 0 when empty.
  double percentile_us(double percent) const {
    auto wanted = static_cast<std::uint64_t>(percent / 100 * static_cast<double>(count_) + 0.5);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size() && count_ > 0; ++i) {
      seen += buckets_[i];
      if (seen >= std::max<std::uint64_t>(wanted, 1)) return std::min(middle_of(i) / 1e3, max_us());
    }
    return max_us();
  }

  // [[percentile, microseconds], …] for a curve.
  nlohmann::json curve() const {
    nlohmann::json points = nlohmann::json::array();
    if (count_ == 0) return points;
    for (double p : {1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9})
      points.push_back({p, percentile_us(p)});
    return points;
  }

 private:
  static constexpr unsigned step_bits = 7;

  static std::size_t bucket_of(std::uint64_t v) {
    if (v < (1u << step_bits)) return v;
    unsigned shift = static_cast<unsigned>(std::bit_width(v)) - 1 - step_bits;
    return ((shift + 1) << step_bits) + ((v >> shift) & ((1u << step_bits) - 1));
  }

  static double middle_of(std::size_t bucket) {
    std::size_t shift = bucket >> step_bits;
    std::uint64_t low = bucket & ((1u << step_bits) - 1);
    if (shift == 0) return static_cast<double>(low);
    return (static_cast<double>((1u << step_bits) + low) + 0.5) * static_cast<double>(1ull << (shift - 1));
  }

  std::vector<std::uint32_t> buckets_ = std::vector<std::uint32_t>(48u << step_bits);
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace thrum::lab
