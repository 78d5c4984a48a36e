// The system calls of TCP, as tcp.cpp makes them for fibers and threads, and tcp_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <string_view>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <thrum/net/endpoint.hpp>

#include "net/address.hpp"
#include "net/socket_errors.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {

inline bool in_progress(int error) noexcept { return error == EINPROGRESS || error == EINTR; }

inline int open_socket(const address& a, std::error_code& error) noexcept {
  const int fd = system::open(a.family(), SOCK_STREAM);
  if (fd < 0) error = last_error();
  return fd;
}

// errc::invalid_argument: it is none.
address address_to_connect(const endpoint& to, std::error_code& error);
[[noreturn]] void raise_not_connected(const std::error_code& error, std::string_view to);

inline void switch_nagle_off(int fd) noexcept { system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

}  // namespace thrum::net
