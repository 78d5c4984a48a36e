// The file by which others find a Unix socket. Removed when the socket closes, unless something else has taken its
// place.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace thrum::net {

class socket_file {
 public:
  socket_file() noexcept = default;
  explicit socket_file(std::string path);  // Which is there by now.
  socket_file(socket_file&& other) noexcept { swap(other); }
  socket_file& operator=(socket_file&& other) noexcept {
    socket_file moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~socket_file() { remove(); }

  void remove() noexcept;  // May be repeated.

 private:
  void swap(socket_file& other) noexcept {
    path_.swap(other.path_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
  }

  std::string path_;  // Empty: there is none.
  std::uint64_t device_ = 0, inode_ = 0;
};

}  // namespace thrum::net
