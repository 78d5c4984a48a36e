// The system call of listeners.
#pragma once

#include <cerrno>

#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

inline bool died_in_queue(int error) noexcept { return error == ECONNABORTED || error == EPROTO; }

struct accept_call {
  long operator()(int fd) const noexcept {
    for (;;) {
      const int accepted = system::accept(fd);
      // A connection that died in the queue is not the listener's failure.
      if (accepted >= 0 || !died_in_queue(os::error_number())) return accepted;
    }
  }
};

}  // namespace thrum::net
