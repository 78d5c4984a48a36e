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
  std::span<const std::byte> data;
  long operator()(int fd) const noexcept { return system::send(fd, data); }
};

// A short read has emptied the socket, unless an edge has come since: the next read may wait at once. Never so at the
// end of the stream, which stays latched.
struct byte_stream::receive_call {
  byte_stream& from;
  std::span<std::byte> buffer;
  long operator()(int fd, std::uint64_t before) const noexcept {
    const long n = system::receive(fd, buffer);
    if (n > 0 && static_cast<std::size_t>(n) < buffer.size() && from.short_read_empties_)
      from.not_ready(direction::reading, before);
    return n;
  }
};

// What has been sent before an attempt fails stays sent: the next one goes on behind it.
struct byte_stream::send_all_call {
  std::span<const std::byte> data;
  std::size_t done = 0;
  long operator()(int fd) noexcept {
    while (done < data.size()) {
      const long n = system::send(fd, data.subspan(done));
      if (n < 0) return n;
      done += static_cast<std::size_t>(n);
    }
    return 0;
  }
};

}  // namespace thrum::net
