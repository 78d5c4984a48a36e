// Sets of descriptors, as epoll's.
#include <algorithm>
#include <cerrno>

#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {

using sched::fd_watch;

namespace {

unsigned as_events(unsigned edges) noexcept {
  return (edges & (fd_watch::can_read | fd_watch::read_ended) ? EPOLLIN : 0u) |
         (edges & fd_watch::can_write ? EPOLLOUT : 0u) | (edges & fd_watch::ended ? EPOLLERR : 0u);
}

}  // namespace

int network::open_set() noexcept {
  const own_allocations unwatched;
  auto& e = add(0, 0, hosts_.of_caller());
  return describe(e, e.id);
}

int network::change_set(int set, int fd, unsigned events) noexcept {
  const own_allocations unwatched;
  auto *s = of(set), *e = of(fd);
  if (!s || !e) return fail(no_such(s ? fd : set));
  if (std::erase(s->members, fd) == 0 && events == 0) return fail(ENOENT);
  e->set = -1;
  e->awaited = events;
  if (events == 0) return 0;
  e->set = s->id;
  s->members.push_back(fd);
  if (as_events(readiness(*e)) & (events | EPOLLERR)) schedule_at(clock_.now_ns(), {.what = kind::look, .to = e->id});
  return 0;
}

int network::look_at_set(int set, std::span<epoll_event> ready) noexcept {
  auto* s = of(set);
  if (!s) return fail(no_such(set));
  std::size_t n = 0;
  for (const int fd : s->members) {
    auto* e = of(fd);
    const auto events = e ? as_events(readiness(*e)) & (e->awaited | EPOLLERR) : 0u;
    if (events == 0 || n == ready.size()) continue;
    ready[n].events = events;
    ready[n++].data.fd = fd;
  }
  return static_cast<int>(n);
}

}  // namespace thrum::sim
