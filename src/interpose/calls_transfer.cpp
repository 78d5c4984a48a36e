// read, write and their relatives, as libc exports them.
#include <climits>

#include "interpose/transfers.hpp"

using namespace thrum::interpose;

extern "C" {

extern const char thrum_interposed_transfers;  // See everything.cpp.
const char thrum_interposed_transfers = 0;

[[noreturn]] void __chk_fail() noexcept;

ssize_t read(int fd, void* data, size_t n) {
  const auto* home = calling_fiber();
  if (!home || n == 0) [[likely]]
    return real::read(fd, data, n);
  const iovec one{.iov_base = data, .iov_len = n};
  return fiber_read(*home, fd, &one, 1);
}

ssize_t write(int fd, const void* data, size_t n) {
  const auto* home = calling_fiber();
  if (!home || n == 0) [[likely]]
    return real::write(fd, data, n);
  const iovec one{.iov_base = const_cast<void*>(data), .iov_len = n};
  return fiber_write(*home, fd, &one, 1);
}

ssize_t readv(int fd, const iovec* v, int n) {
  const auto* home = calling_fiber();
  if (!home || n <= 0 || n > IOV_MAX) [[likely]]
    return real::readv(fd, v, n);
  return fiber_read(*home, fd, v, n);
}

ssize_t writev(int fd, const iovec* v, int n) {
  const auto* home = calling_fiber();
  if (!home || n <= 0 || n > IOV_MAX) [[likely]]
    return real::writev(fd, v, n);
  return fiber_write(*home, fd, v, n);
}

ssize_t recvfrom(int fd, void* data, size_t n, int flags, sockaddr* from, socklen_t* length) {
  const auto* home = calling_fiber();
  if (!home || left_to_the_kernel(flags)) [[likely]]
    return real::recvfrom(fd, data, n, flags, from, length);
  iovec one{.iov_base = data, .iov_len = n};
  msghdr m{};
  m.msg_name = from;
  m.msg_namelen = from && length ? *length : 0;
  m.msg_iov = &one;
  m.msg_iovlen = 1;
  const ssize_t got = fiber_recvmsg(*home, fd, &m, flags);
  if (got >= 0 && from && length) *length = m.msg_namelen;
  return got;
}

ssize_t recv(int fd, void* data, size_t n, int flags) {
  const auto* home = calling_fiber();
  if (!home || left_to_the_kernel(flags)) [[likely]]
    return real::recv(fd, data, n, flags);
  if ((flags & MSG_WAITALL) != 0) return recvfrom(fd, data, n, flags, nullptr, nullptr);
  const kept_errno on_success;
  fiber_call call(*home, fd, purpose::reading, SO_RCVTIMEO);
  return on_success(call.repeat([&](int more) { return real::recv(fd, data, n, flags | more); }));
}

ssize_t recvmsg(int fd, msghdr* m, int flags) {
  const auto* home = calling_fiber();
  if (!home || !m || left_to_the_kernel(flags)) [[likely]]
    return real::recvmsg(fd, m, flags);
  return fiber_recvmsg(*home, fd, m, flags);
}

ssize_t sendto(int fd, const void* data, size_t n, int flags, const sockaddr* to, socklen_t length) {
  const auto* home = calling_fiber();
  if (!home || left_to_the_kernel(flags)) [[likely]]
    return real::sendto(fd, data, n, flags, to, length);
  iovec one{.iov_base = const_cast<void*>(data), .iov_len = n};
  msghdr m{};
  m.msg_name = const_cast<sockaddr*>(to);
  m.msg_namelen = to ? length : 0;
  m.msg_iov = &one;
  m.msg_iovlen = 1;
  return fiber_sendmsg(*home, fd, &m, flags);
}

ssize_t send(int fd, const void* data, size_t n, int flags) {
  if (!calling_fiber() || left_to_the_kernel(flags)) [[likely]]
    return real::send(fd, data, n, flags);
  return sendto(fd, data, n, flags, nullptr, 0);
}

ssize_t sendmsg(int fd, const msghdr* m, int flags) {
  const auto* home = calling_fiber();
  if (!home || !m || left_to_the_kernel(flags)) [[likely]]
    return real::sendmsg(fd, m, flags);
  return fiber_sendmsg(*home, fd, m, flags);
}

// ---------------------------------------------------------------------------------------------------------------
// Several messages.

int recvmmsg(int fd, mmsghdr* all, unsigned n, int flags, timespec* time) {
  const auto* home = calling_fiber();
  if (!home || n == 0 || left_to_the_kernel(flags)) [[likely]]
    return real::recvmmsg(fd, all, n, flags, time);
  return fiber_recvmmsg(*home, fd, all, n, flags, time);
}

int sendmmsg(int fd, mmsghdr* all, unsigned n, int flags) {
  const auto* home = calling_fiber();
  if (!home || n == 0 || left_to_the_kernel(flags)) [[likely]]
    return real::sendmmsg(fd, all, n, flags);
  return fiber_sendmmsg(*home, fd, all, n, flags);
}

// ---------------------------------------------------------------------------------------------------------------
// What programs call instead that were compiled with _FORTIFY_SOURCE: `room` is the size of the buffer.

ssize_t __read_chk(int fd, void* data, size_t n, size_t room) {
  if (n > room) __chk_fail();
  return read(fd, data, n);
}

ssize_t __recv_chk(int fd, void* data, size_t n, size_t room, int flags) {
  if (n > room) __chk_fail();
  return recv(fd, data, n, flags);
}

ssize_t __recvfrom_chk(int fd, void* data, size_t n, size_t room, int flags, sockaddr* from, socklen_t* length) {
  if (n > room) __chk_fail();
  return recvfrom(fd, data, n, flags, from, length);
}

}  // extern "C"
