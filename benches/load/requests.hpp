// The requests of one connection: what its n-th request looks like, and whether the answers are the same bytes.
//
// A request is a header of 8 bytes (its kind, then connection and number, mixed) and a slice of one table of random
// bytes that starts where the header says. So each request differs from every other that is under way, making one is
// a copy, and checking one a comparison.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "../bench.hpp"
#include "../peers/compute.h"

namespace load {

constexpr std::size_t header_bytes = 8;

inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 29);
}

class requests {
 public:
  // `compute_percent` of them ask the server to compute before it answers.
  requests(std::size_t bytes, double compute_percent)
      : bytes_(bytes), computing_below_(uint64_t(compute_percent / 100 * 65536)), table_(slices + bytes) {
    uint64_t word = 1;
    for (auto& byte : table_) byte = char((word = mix(word + 0x9e3779b97f4a7c15u)) >> 56);
  }

  std::size_t bytes() const { return bytes_; }
  bool computes(uint64_t connection, uint64_t number) const {
    return (header_of(connection, number) >> 48) < computing_below_;
  }

  void make(uint64_t connection, uint64_t number, char* to) const {
    const auto header = header_of(connection, number);
    std::memcpy(to, &header, header_bytes);
    to[0] = computes(connection, number) ? THRUM_BENCH_COMPUTE : THRUM_BENCH_PLAIN;
    std::memcpy(to + header_bytes, table_.data() + header % slices, bytes_ - header_bytes);
  }

  // Whether `answer` is what the bytes from `offset` on of that request are.
  bool matches(uint64_t connection, uint64_t number, std::size_t offset, const char* answer, std::size_t size) const {
    char head[header_bytes];
    const auto header = header_of(connection, number);
    std::memcpy(head, &header, header_bytes);
    head[0] = computes(connection, number) ? THRUM_BENCH_COMPUTE : THRUM_BENCH_PLAIN;
    while (size > 0 && offset < header_bytes) {
      if (*answer != head[offset]) return false;
      ++answer, ++offset, --size;
    }
    return size == 0 || std::memcmp(answer, table_.data() + header % slices + offset - header_bytes, size) == 0;
  }

 private:
  static constexpr std::size_t slices = 65536;

  static uint64_t header_of(uint64_t connection, uint64_t number) {
    return mix(mix(connection << 40 | number) + number);
  }

  const std::size_t bytes_;
  const uint64_t computing_below_;
  std::vector<char> table_;
};

}  // namespace load
