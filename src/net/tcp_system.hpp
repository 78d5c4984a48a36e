// The system calls of TCP, as tcp.cpp makes them for fibers and threads, and tcp_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/byte_stream_system.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

inline bool in_progress(int error) noexcept { return error == EINPROGRESS || error == EINTR; }
inline bool died_in_queue(int error) noexcept { return error == ECONNABORTED || error == EPROTO; }

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

}  // namespace thrum::net
