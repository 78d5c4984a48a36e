// The calls on sockets as libraries beside this one make them.
#include "net/system_calls.hpp"

#include "os/errno.hpp"

namespace thrum::net::system::beside {

bool is_kernel() noexcept { return own() == nullptr; }
const char* name_server() noexcept { return own()->name_server(); }

int open(int family, int type) noexcept { return system::open(family, type); }
int connect(int fd, const sockaddr* address, socklen_t length) noexcept { return system::connect(fd, address, length); }
int local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  return system::local_name(fd, address, length);
}
long send(int fd, std::span<const std::byte> data) noexcept { return system::send(fd, data); }
long receive(int fd, std::span<std::byte> buffer) noexcept { return system::receive(fd, buffer); }
long send_message(int fd, const msghdr& m) noexcept { return system::send_message(fd, m); }
long receive_message(int fd, msghdr& m) noexcept { return system::receive_message(fd, m, 0); }
void close(int fd) noexcept { system::close(fd); }

int open_set() noexcept {
  if (auto* s = own()) return s->open_set();
  return ::epoll_create1(EPOLL_CLOEXEC);
}

// Taken out by itself, and not only by its being closed: a process that is being started may still have a copy.
int change_set(int set, int fd, unsigned events) noexcept {
  if (auto* s = own()) return s->change_set(set, fd, events);
  if (events == 0) return ::epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr);
  epoll_event e{};
  e.events = events;
  e.data.fd = fd;
  if (::epoll_ctl(set, EPOLL_CTL_MOD, fd, &e) == 0) return 0;
  return os::error_number() == ENOENT ? ::epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) : -1;
}

int look_at_set(int set, std::span<epoll_event> ready) noexcept {
  if (auto* s = own()) return s->look_at_set(set, ready);
  return ::epoll_wait(set, ready.data(), static_cast<int>(ready.size()), 0);
}

}  // namespace thrum::net::system::beside
