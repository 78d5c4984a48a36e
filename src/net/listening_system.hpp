// The system calls of listeners.
#pragma once

#include <algorithm>
#include <cerrno>
#include <initializer_list>

#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

inline bool died_in_queue(int error) noexcept { return error == ECONNABORTED || error == EPROTO; }

// 0, and it does not block from now on; -1, and errno.
inline int adopt_listening(int fd, std::initializer_list<int> families) noexcept {
  int family = AF_UNSPEC, listens = 0;
  if (system::get_option(fd, SOL_SOCKET, SO_DOMAIN, family) != 0 ||
      system::get_option(fd, SOL_SOCKET, SO_ACCEPTCONN, listens) != 0)
    return -1;
  if (listens && std::find(families.begin(), families.end(), family) != families.end()) return system::adopt(fd);
  errno = EINVAL;
  return -1;
}

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
