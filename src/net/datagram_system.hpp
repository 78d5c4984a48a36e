// The system calls of datagram sockets, for fibers and threads and for tasks.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <system_error>

#include <sys/socket.h>
#include <sys/uio.h>

#include <thrum/net/datagram_socket.hpp>

#include "net/address.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

struct send_datagram_call {
  std::span<const std::byte> data;
  const address* to = nullptr;  // Null: the peer.

  long operator()(int fd) const noexcept {
    iovec part{const_cast<std::byte*>(data.data()), data.size()};  // Which sending does not change.
    msghdr m{};
    if (to) {
      m.msg_name = const_cast<sockaddr*>(to->get());
      m.msg_namelen = to->length;
    }
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    return system::send_message(fd, m);
  }
};

// Where readiness to write tells nothing of the receiver's queue: EBUSY, which the kernel has no use for here.
struct send_unix_datagram_call : send_datagram_call {
  long operator()(int fd) const noexcept {
    const long n = send_datagram_call::operator()(fd);
    if (n < 0 && os::error_number() == EAGAIN) os::set_error_number(EBUSY);
    return n;
  }
};
inline bool queue_is_full(const std::error_code& error) { return error == std::errc::device_or_resource_busy; }

struct receive_datagram_call {
  std::span<std::byte> buffer;
  address* from = nullptr;  // Null: nobody asks.

  // How long the datagram was, whatever the buffer's size.
  long operator()(int fd) const noexcept {
    iovec part{buffer.data(), buffer.size()};
    msghdr m{};
    if (from) {
      m.msg_name = &from->storage;
      m.msg_namelen = sizeof from->storage;
    }
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    const long n = system::receive_message(fd, m, MSG_TRUNC);
    if (n >= 0 && from) from->length = m.msg_namelen;
    return n;
  }

  received result(long n) const noexcept {
    const auto size = static_cast<std::size_t>(std::max(n, 0L));
    return {std::min(size, buffer.size()), size > buffer.size()};
  }
};

}  // namespace thrum::net
