// Owns a file descriptor of any kind, such as one that came through a unix_stream. Closes it in the end.
#pragma once

#include <utility>

namespace thrum::net {

class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept {
    descriptor moved(std::move(other));
    std::swap(fd_, moved.fd_);
    return *this;
  }
  ~descriptor() { close(); }

  bool is_open() const noexcept { return fd_ >= 0; }
  int native_handle() const noexcept { return fd_; }         // Stays owned.
  int release() noexcept { return std::exchange(fd_, -1); }  // The caller's from now on.
  void close() noexcept;                                     // May be repeated.

 private:
  int fd_ = -1;
};

}  // namespace thrum::net
