// Where sockets meet the system: the kernel's calls, or those of the runtime's own (sched/socket_system.hpp).
#pragma once

#include <cerrno>
#include <span>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/sanitizers.hpp"
#include "os/errno.hpp"
#include "sched/scheduler.hpp"
#include "sched/socket_system.hpp"

namespace thrum::net::system {

// The C library's recv() and send() are points where pthread_cancel(3) may strike, which costs each call two locked
// instructions and more as soon as there are several threads; nobody may cancel ours. Sanitizers watch the functions.
#if defined(THRUM_TSAN) || defined(THRUM_ASAN)
inline long kernel_receive(int fd, void* to, std::size_t size, int flags) noexcept {
  return ::recv(fd, to, size, flags);
}
inline long kernel_send(int fd, const void* from, std::size_t size, int flags) noexcept {
  return ::send(fd, from, size, flags);
}
#else
inline long kernel_receive(int fd, void* to, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_recvfrom, fd, to, size, flags, nullptr, nullptr);
}
inline long kernel_send(int fd, const void* from, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_sendto, fd, from, size, flags, nullptr, 0);
}
#endif

// Null: the kernel.
inline sched::socket_system* own() noexcept {
  auto* w = sched::this_worker();
  return w ? w->home.sockets() : nullptr;
}

inline int open(int family) noexcept {
  if (auto* s = own()) return s->open(family);
  return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}
// Sockets that a simulation has not fail to open there, instead of reaching for the kernel's.
inline long not_simulated() noexcept {
  os::set_error_number(EAFNOSUPPORT);
  return -1;
}
// Not inline: libraries beside this one, which cannot see the worker, open theirs by these.
int open_kernels_own(int family, int type) noexcept;
int open_epoll() noexcept;
inline int open_pair(int family, int type, int (&ends)[2]) noexcept {
  if (own()) return static_cast<int>(not_simulated());
  return ::socketpair(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}
inline long send_message(int fd, const msghdr& m) noexcept {
  if (own()) return not_simulated();
  return ::sendmsg(fd, &m, MSG_NOSIGNAL);
}
inline long receive_message(int fd, msghdr& m, int flags) noexcept {
  if (own()) return not_simulated();
  return ::recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
}
inline int set_option(int fd, int level, int option, int value) noexcept {
  if (auto* s = own()) return s->set_option(fd, level, option, value);
  return ::setsockopt(fd, level, option, &value, sizeof value);
}
inline int set_linger(int fd, bool resets) noexcept {
  if (own()) return 0;
  const linger value{.l_onoff = resets, .l_linger = 0};
  return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}
template <class Value>
int get_option(int fd, int level, int option, Value& value) noexcept {
  if (own()) {
    os::set_error_number(EOPNOTSUPP);
    return -1;
  }
  socklen_t length = sizeof value;
  return ::getsockopt(fd, level, option, &value, &length);
}
inline int listen(int fd, const sockaddr* address, socklen_t length, int backlog) noexcept {
  if (auto* s = own()) return s->listen(fd, address, length, backlog);
  return ::bind(fd, address, length) != 0 ? -1 : ::listen(fd, backlog);
}
inline int accept(int fd) noexcept {
  if (auto* s = own()) return s->accept(fd);
  return ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
inline int connect(int fd, const sockaddr* address, socklen_t length) noexcept {
  if (auto* s = own()) return s->connect(fd, address, length);
  return ::connect(fd, address, length);
}
inline long receive(int fd, std::span<std::byte> buffer) noexcept {
  if (auto* s = own()) return s->receive(fd, buffer, false);
  return kernel_receive(fd, buffer.data(), buffer.size(), 0);
}
inline long peek(int fd, std::span<std::byte> buffer) noexcept {
  if (auto* s = own()) return s->receive(fd, buffer, true);
  return ::recv(fd, buffer.data(), buffer.size(), MSG_PEEK);
}
inline long send(int fd, std::span<const std::byte> data) noexcept {
  if (auto* s = own()) return s->send(fd, data);
  return kernel_send(fd, data.data(), data.size(), MSG_NOSIGNAL);
}
// Of several buffers a simulation takes the first, which is some.
inline std::span<std::byte> first_of(std::span<const iovec> parts) noexcept {
  if (parts.empty()) return {};
  return {static_cast<std::byte*>(parts.front().iov_base), parts.front().iov_len};
}
inline long receive(int fd, std::span<iovec> parts) noexcept {
  if (auto* s = own()) return s->receive(fd, first_of(parts), false);
  return ::readv(fd, parts.data(), static_cast<int>(parts.size()));
}
inline long send(int fd, std::span<iovec> parts) noexcept {
  if (auto* s = own()) return s->send(fd, first_of(parts));
  msghdr m{};
  m.msg_iov = parts.data();
  m.msg_iovlen = parts.size();
  return ::sendmsg(fd, &m, MSG_NOSIGNAL);
}
inline int shut_down_writing(int fd) noexcept {
  if (auto* s = own()) return s->shut_down_writing(fd);
  return ::shutdown(fd, SHUT_WR);
}
// SO_ERROR, which asking clears; -1, and errno, for no socket.
inline int take_error(int fd) noexcept {
  if (auto* s = own()) return s->take_error(fd);
  int value = 0;
  socklen_t length = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length) != 0 ? -1 : value;
}
inline int local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  if (auto* s = own()) return s->local_name(fd, address, length);
  return ::getsockname(fd, address, length);
}
inline int peer_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  if (auto* s = own()) return s->peer_name(fd, address, length);
  return ::getpeername(fd, address, length);
}
inline void close(int fd) noexcept {
  if (auto* s = own()) return s->close(fd);
  ::close(fd);
}

}  // namespace thrum::net::system
