// What unix.cpp does for fibers and threads, and unix_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <system_error>

#include "net/address.hpp"
#include "net/socket_errors.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

// False: the listener's queue is full.
inline bool is_settled(int fd, const address& a, std::error_code& error) noexcept {
  if (system::connect(fd, a.get(), a.length) == 0) return true;
  if (try_again(os::error_number())) return false;
  error = last_error();
  return true;
}

inline std::error_code may_send_descriptor(std::span<const std::byte> data, bool is_broken) noexcept {
  if (data.empty()) return std::make_error_code(std::errc::invalid_argument);
  return is_broken ? std::make_error_code(std::errc::broken_pipe) : std::error_code();
}

}  // namespace thrum::net
