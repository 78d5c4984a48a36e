// The loop of every operation: attempt, and wait when there is nothing to be had. Attempts come first: most reads and
// writes never wait (speculative calls).
#pragma once

#include <cerrno>

#include <thrum/net/socket.hpp>

#include "os/errno.hpp"
#include "sched/fd_watch.hpp"

namespace thrum::net {

template <class Attempt>
long socket::perform(direction d, std::error_code& error, Attempt attempt) {
  if (!begin(error)) return -1;
  for (;;) {
    if (!known_not_ready(d)) {
      const auto before = word(d);
      const long n = attempt();
      if (n >= 0) return n;
      const int failure = os::error_number();
      if (failure == EINTR) continue;
      if (failure != EAGAIN) {
        error.assign(failure, std::generic_category());
        return -1;
      }
      not_ready(d, before);
    }
    if (!wait_ready(d, error)) return -1;
  }
}

}  // namespace thrum::net
