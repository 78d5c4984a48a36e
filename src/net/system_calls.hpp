// Where sockets meet the system: the kernel's calls, or those of the runtime's own (sched/socket_system.hpp).
#pragma once

#include <cerrno>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/sanitizers.hpp"
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
  auto* s = w ? w->home.sockets() : nullptr;
  if (s) detail::touch_in_time(s);
  return s;
}

inline int open(int family, int type) noexcept {
  if (auto* s = own()) return s->open(family, type);
  return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}
inline int open_pair(int family, int type, int (&ends)[2]) noexcept {
  if (auto* s = own()) return s->open_pair(family, type, ends);
  return ::socketpair(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}
inline long send_message(int fd, const msghdr& m) noexcept {
  if (auto* s = own()) return s->send_message(fd, m);
  return ::sendmsg(fd, &m, MSG_NOSIGNAL);
}
inline long receive_message(int fd, msghdr& m, int flags) noexcept {
  if (auto* s = own()) return s->receive_message(fd, m, flags);
  return ::recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
}
inline int set_option(int fd, int level, int option, int value) noexcept {
  if (auto* s = own()) return s->set_option(fd, level, option, value);
  return ::setsockopt(fd, level, option, &value, sizeof value);
}
inline int get_option(int fd, int level, int option, int& value) noexcept {
  if (auto* s = own()) return s->get_option(fd, level, option, value);
  socklen_t length = sizeof value;
  return ::getsockopt(fd, level, option, &value, &length);
}
inline int set_linger(int fd, bool resets) noexcept {
  if (auto* s = own()) return s->set_option(fd, SOL_SOCKET, SO_LINGER, resets);
  const linger value{.l_onoff = resets, .l_linger = 0};
  return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}
inline int get_linger(int fd, int& resets) noexcept {
  if (auto* s = own()) return s->get_option(fd, SOL_SOCKET, SO_LINGER, resets);
  linger value{};
  socklen_t length = sizeof value;
  const int failed = ::getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &length);
  resets = value.l_onoff != 0 && value.l_linger == 0;
  return failed;
}
// 0, and errno, for none of that name.
inline unsigned interface_number(const char* name) noexcept {
  if (auto* s = own()) return s->interface_number(name);
  return ::if_nametoindex(name);
}
inline int set_group_interface(int fd, int family, int number) noexcept {
  if (family == AF_INET6) return set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, number);
  if (auto* s = own()) return s->set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, number);
  ip_mreqn by{};
  by.imr_ifindex = number;
  return ::setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by);
}
// MCAST_JOIN_GROUP or MCAST_LEAVE_GROUP.
inline int change_membership(int fd, int change, unsigned interface, const sockaddr* group, socklen_t length) noexcept {
  if (auto* s = own())
    return change == MCAST_JOIN_GROUP ? s->join_group(fd, interface, group, length)
                                      : s->leave_group(fd, interface, group, length);
  group_req request{};
  request.gr_interface = interface;
  std::memcpy(&request.gr_group, group, length);
  return ::setsockopt(fd, group->sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, change, &request, sizeof request);
}
inline int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  if (auto* s = own()) return s->bind(fd, address, length);
  return ::bind(fd, address, length);
}
inline int listen(int fd, int backlog) noexcept {
  if (auto* s = own()) return s->listen(fd, backlog);
  return ::listen(fd, backlog);
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
// From now on it does not block.
inline int adopt(int fd) noexcept {
  if (auto* s = own()) return s->adopt(fd);
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
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

// For libraries beside this one, which cannot see the worker: not inline. system_calls.cpp
namespace beside {

bool is_kernel() noexcept;           // Sockets are its, and time is that of its clock.
const char* name_server() noexcept;  // Where they are not.

int open(int family, int type) noexcept;
int connect(int fd, const sockaddr* address, socklen_t length) noexcept;
int local_name(int fd, sockaddr* address, socklen_t* length) noexcept;
long send(int fd, std::span<const std::byte> data) noexcept;
long receive(int fd, std::span<std::byte> buffer) noexcept;
long send_message(int fd, const msghdr& m) noexcept;
long receive_message(int fd, msghdr& m) noexcept;
void close(int fd) noexcept;

// epoll(7), level-triggered; see socket_system.
int open_set() noexcept;
int change_set(int set, int fd, unsigned events) noexcept;
int look_at_set(int set, std::span<epoll_event> ready) noexcept;  // Does not wait.

}  // namespace beside

}  // namespace thrum::net::system
