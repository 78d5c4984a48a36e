// What both engines hand to the kernel with a descriptor, and get back with its events.
#pragma once

#include <cstdint>

#include <sys/epoll.h>

#include "sched/fd_watch.hpp"

namespace thrum::io {

// Whom an event is about: the watch, and its generation when it was registered, in the 16 bits that user addresses
// leave free. Never zero.
struct event_tag {
  sched::fd_watch* watch;
  std::uint16_t generation;
};

inline constexpr int generation_shift = 48;

inline std::uint64_t pack(event_tag t) noexcept {
  return reinterpret_cast<std::uintptr_t>(t.watch) | std::uint64_t{t.generation} << generation_shift;
}

inline event_tag unpack(std::uint64_t data) noexcept {
  constexpr auto address_mask = (std::uint64_t{1} << generation_shift) - 1;
  return {reinterpret_cast<sched::fd_watch*>(data & address_mask),
          static_cast<std::uint16_t>(data >> generation_shift)};
}

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
