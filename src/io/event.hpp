// What the events of both engines mean.
#pragma once

#include <cstdint>

#include <sys/epoll.h>

#include "sched/fd_watch.hpp"

namespace thrum::io {

// poll(2)'s and epoll's bits, which are the same, as a watch's.
inline unsigned meaning(std::uint32_t events) noexcept {
  using watch = sched::fd_watch;
  unsigned e = 0;
  if (events & (EPOLLIN | EPOLLPRI)) e |= watch::can_read;
  if (events & EPOLLRDHUP) e |= watch::read_ended;
  if (events & EPOLLOUT) e |= watch::can_write;
  if (events & (EPOLLHUP | EPOLLERR)) e |= watch::ended;
  return e;
}

}  // namespace thrum::io
