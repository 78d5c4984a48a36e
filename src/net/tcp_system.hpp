// The system calls of TCP, as tcp.cpp makes them for fibers and threads, and tcp_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <span>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <thrum/net/tcp_stream.hpp>

#include "net/address.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

inline bool try_again(int error) noexcept { return error == EAGAIN || error == EINTR; }
inline bool in_progress(int error) noexcept { return error == EINPROGRESS || error == EINTR; }
inline bool died_in_queue(int error) noexcept { return error == ECONNABORTED || error == EPROTO; }

inline std::error_code last_error() noexcept { return {os::error_number(), std::generic_category()}; }

inline int open_socket(const address& a, std::error_code& error) noexcept {
  const int fd = system::open(a.family());
  if (fd < 0) error = last_error();
  return fd;
}

inline void no_delay(int fd) noexcept { system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

struct accept_call {
  int fd;
  long operator()() const noexcept {
    for (;;) {
      const int accepted = system::accept(fd);
      // A connection that died in the queue is not the listener's failure.
      if (accepted >= 0 || !died_in_queue(os::error_number())) return accepted;
    }
  }
};

struct send_call {
  int fd;
  std::span<const std::byte> data;
  long operator()() const noexcept { return system::send(fd, data); }
};

struct tcp_stream::receive_call {
  tcp_stream& from;
  std::span<std::byte> buffer;
  std::uint64_t before = 0;  // The direction's word, read before the call.
  long operator()() noexcept {
    before = from.word(direction::reading);
    return system::receive(from.fd_, buffer);
  }
};

}  // namespace thrum::net
