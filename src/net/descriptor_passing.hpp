// The system calls that carry a descriptor through a Unix socket (unix(7), SCM_RIGHTS).
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>

#include <sys/socket.h>
#include <sys/uio.h>

#include <thrum/net/descriptor.hpp>

#include "net/system_calls.hpp"

namespace thrum::net {

// A message with room for one descriptor, and not a byte more: the kernel closes what does not fit, and tells.
struct message_with_descriptor {
  alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int))] = {};
  iovec part;
  msghdr header{};

  message_with_descriptor(void* data, std::size_t size) noexcept : part{data, size} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = CMSG_LEN(sizeof(int));
  }
  message_with_descriptor(const message_with_descriptor&) = delete;
  message_with_descriptor& operator=(const message_with_descriptor&) = delete;

  void put(int fd) noexcept {
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  // -1: none came.
  int take() noexcept {
    int fd = -1;
    const cmsghdr* c = CMSG_FIRSTHDR(&header);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
      std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
  }
};

struct send_descriptor_call {
  int passed;
  std::span<const std::byte> data;
  long operator()(int to) const noexcept {
    message_with_descriptor m(const_cast<std::byte*>(data.data()), data.size());  // Which sending does not change.
    m.put(passed);
    return system::send_message(to, m.header);
  }
};

struct receive_descriptor_call {
  std::span<std::byte> buffer;
  descriptor& into;
  bool is_incomplete = false;

  long operator()(int from) noexcept {
    message_with_descriptor m(buffer.data(), buffer.size());
    const long n = system::receive_message(from, m.header, 0);
    if (n < 0) return n;
    into = descriptor(m.take());
    is_incomplete = (m.header.msg_flags & MSG_CTRUNC) != 0;
    return n;
  }

  // After a success: what is to be reported nevertheless.
  std::error_code verdict() noexcept {
    if (!is_incomplete) return {};
    const bool one_came = into.is_open();
    into.close();
    return std::make_error_code(one_came ? std::errc::message_size : std::errc::too_many_files_open);
  }
};

}  // namespace thrum::net
