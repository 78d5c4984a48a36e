// The system calls of streams, as byte_stream.cpp makes them for fibers and threads, and byte_stream_task.cpp for
// tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <thrum/net/byte_stream.hpp>

#include "net/system_calls.hpp"

namespace thrum::net {

struct send_call {
  int fd;
  std::span<const std::byte> data;
  long operator()() const noexcept { return system::send(fd, data); }
};

struct byte_stream::receive_call {
  byte_stream& from;
  std::span<std::byte> buffer;
  std::uint64_t before = 0;  // The direction's word, read before the call.
  long operator()() noexcept {
    before = from.word(direction::reading);
    return system::receive(from.fd_, buffer);
  }
};

}  // namespace thrum::net
