// Where files meet the system: the kernel's calls, or those of the runtime's own (sched/file_system.hpp), which are
// made on its worker.
#pragma once

#include <cerrno>
#include <cstdio>
#include <optional>
#include <span>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/errno.hpp"
#include "sched/file_system.hpp"
#include "sched/scheduler.hpp"

namespace thrum::files::kernel {

// Null: the kernel.
inline sched::file_system* own() noexcept {
  auto* w = sched::this_worker();
  auto* s = w ? w->home.files() : nullptr;
  if (s) detail::touch_in_time(s);
  return s;
}

inline int open(const char* path, int flags, unsigned mode) noexcept {
  if (auto* s = own()) return s->open(path, flags, mode);
  return ::open(path, flags, mode);
}
inline int close(int fd) noexcept {
  if (auto* s = own()) return s->close(fd);
  return ::close(fd);
}

// At an offset, or at the file's position. An offset that the kernel cannot have is refused as it would refuse it.
using offset = std::optional<std::uint64_t>;
inline bool is_too_far(offset at) noexcept {
  if (!at || *at <= INT64_MAX) return false;
  os::set_error_number(EINVAL);
  return true;
}
inline long read(int fd, std::span<std::byte> buffer, offset at) noexcept {
  if (is_too_far(at)) return -1;
  if (auto* s = own())
    return s->read(fd, buffer, at ? static_cast<std::int64_t>(*at) : sched::file_system::at_position);
  return at ? ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(*at))
            : ::read(fd, buffer.data(), buffer.size());
}
inline long write(int fd, std::span<const std::byte> data, offset at) noexcept {
  if (is_too_far(at)) return -1;
  if (auto* s = own()) return s->write(fd, data, at ? static_cast<std::int64_t>(*at) : sched::file_system::at_position);
  return at ? ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(*at)) : ::write(fd, data.data(), data.size());
}
inline std::int64_t seek(int fd, std::int64_t to, int whence) noexcept {
  if (auto* s = own()) return s->seek(fd, to, whence);
  return ::lseek(fd, to, whence);
}
inline int sync(int fd, bool data_only) noexcept {
  if (auto* s = own()) return s->sync(fd);
  return data_only ? ::fdatasync(fd) : ::fsync(fd);
}
inline int truncate(int fd, std::uint64_t size) noexcept {
  if (auto* s = own()) return s->truncate(fd, static_cast<std::int64_t>(size));
  return ::ftruncate(fd, static_cast<off_t>(size));
}
inline int describe(int fd, struct stat& d) noexcept {
  if (auto* s = own()) return s->describe(fd, d);
  return ::fstat(fd, &d);
}
inline int describe(const char* path, struct stat& d) noexcept {
  if (auto* s = own()) return s->describe(path, d);
  return ::stat(path, &d);
}
inline int make_directory(const char* path) noexcept {
  constexpr unsigned mode = 0777;
  if (auto* s = own()) return s->make_directory(path, mode);
  return ::mkdir(path, mode);
}
inline int remove(const char* path) noexcept {
  if (auto* s = own()) return s->remove(path);
  return std::remove(path);
}
inline int rename(const char* from, const char* to) noexcept {
  if (auto* s = own()) return s->rename(from, to);
  return std::rename(from, to);
}

}  // namespace thrum::files::kernel
