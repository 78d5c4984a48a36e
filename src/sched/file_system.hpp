// The system's calls on files, where they are not the kernel's: what a simulation brings. See seams.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

namespace thrum::sched {

// Each as POSIX has it: a negative value, and errno, tells of failure. Called by workers, outside of the runtime.
class file_system {
 public:
  virtual ~file_system() = default;

  static constexpr std::int64_t at_position = -1;  // Instead of an offset.

  virtual int open(const char* path, int flags, unsigned mode) noexcept = 0;
  virtual int close(int fd) noexcept = 0;
  virtual long read(int fd, std::span<std::byte> buffer, std::int64_t offset) noexcept = 0;
  virtual long write(int fd, std::span<const std::byte> data, std::int64_t offset) noexcept = 0;
  virtual std::int64_t seek(int fd, std::int64_t offset, int whence) noexcept = 0;
  virtual int sync(int fd) noexcept = 0;
  virtual int truncate(int fd, std::int64_t size) noexcept = 0;
  virtual int describe(int fd, struct stat& s) noexcept = 0;
  virtual int describe(const char* path, struct stat& s) noexcept = 0;

  using entry = std::pair<std::string, unsigned>;  // A name, and the mode of what has it.
  virtual int list(const char* path, std::vector<entry>& out) = 0;
  virtual int make_directory(const char* path, unsigned mode) noexcept = 0;
  virtual int remove(const char* path) noexcept = 0;
  virtual int rename(const char* from, const char* to) noexcept = 0;
  // A socket's file, unless another has its name by now.
  virtual void remove_socket(const char* path, std::uint64_t inode) noexcept = 0;
};

}  // namespace thrum::sched
