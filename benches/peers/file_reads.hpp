// file_reads for the programs in C++: a file whose pages are all in the page cache, in which 4 KiB blocks are read at
// random, 16 reads under way at a time. Each block begins with its own number, which every read checks.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "../bench.hpp"

namespace file_reads {

constexpr std::size_t block_bytes = 4096;
constexpr std::uint64_t blocks = 16384;  // 64 MiB
constexpr int depth = 16;

using block = std::array<std::byte, block_bytes>;

// A file without a name, which ends with the process. Writing leaves its pages in the cache.
inline int make_file() {
  const char* directory = std::getenv("TMPDIR");
  const int fd = open(directory ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) bench::fail("There is no room for a temporary file.", 1);
  block b{};
  for (std::uint64_t i = 0; i < blocks; ++i) {
    std::memcpy(b.data(), &i, sizeof i);
    if (pwrite(fd, b.data(), b.size(), off_t(i * block_bytes)) != ssize_t(b.size()))
      bench::fail("The temporary file cannot be written.", 1);
  }
  return fd;
}

// The numbers of the blocks that one of the 16 reads.
class sequence {
 public:
  explicit sequence(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  std::uint64_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % blocks;
  }

 private:
  std::uint64_t state_;
};

inline void check(const block& b, std::uint64_t number, long bytes) {
  std::uint64_t found = 0;
  std::memcpy(&found, b.data(), sizeof found);
  if (bytes != long(block_bytes) || found != number) bench::fail("A read brought the wrong block.", 1);
}

}  // namespace file_reads
