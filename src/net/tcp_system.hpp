// The system calls of TCP, as tcp.cpp makes them for fibers and threads, and tcp_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/socket_errors.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {

inline bool in_progress(int error) noexcept { return error == EINPROGRESS || error == EINTR; }

inline int open_socket(const address& a, std::error_code& error) noexcept {
  const int fd = system::open(a.family());
  if (fd < 0) error = last_error();
  return fd;
}

inline void switch_nagle_off(int fd) noexcept { system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

}  // namespace thrum::net
