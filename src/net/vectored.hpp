// Calls on several buffers: what is left of them after so many bytes, and the system's vectors.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include <sys/uio.h>

#include <thrum/net/buffers.hpp>

#include "net/system_calls.hpp"

namespace thrum::net {

// A place in a sequence of buffers.
class position {
 public:
  explicit position(const_buffers all) noexcept : rest_(all.list()) { advance(0); }

  bool at_end() const noexcept { return rest_.empty(); }
  std::span<const std::byte> first() const noexcept { return rest_.front().subspan(offset_); }
  const_buffers::all others() const noexcept { return rest_.subspan(1); }

  // Over buffers without bytes, too.
  void advance(std::size_t n) noexcept {
    for (offset_ += n; !at_end() && offset_ >= rest_.front().size(); rest_ = others()) offset_ -= rest_.front().size();
  }

 private:
  const_buffers::all rest_;
  std::size_t offset_ = 0;  // In the first of them.
};

class vector_of_buffers {
 public:
  static constexpr std::size_t capacity = 64;

  // Buffers without room are left out. The kernel does not change what is sent.
  void add(std::span<const std::byte> b) noexcept {
    if (!b.empty() && size_ < capacity) parts_[size_++] = {const_cast<std::byte*>(b.data()), b.size()};
  }
  std::span<iovec> get() noexcept { return std::span(parts_).first(size_); }

 private:
  std::array<iovec, capacity> parts_;
  std::size_t size_ = 0;
};

struct send_several_call {
  const position& from;
  long operator()(int fd) const noexcept {
    vector_of_buffers v;
    if (!from.at_end()) {
      v.add(from.first());
      for (const auto& b : from.others()) v.add(b);
    }
    return system::send(fd, v.get());
  }
};

struct receive_several_call {
  mutable_buffers::all into;
  long operator()(int fd) const noexcept {
    vector_of_buffers v;
    for (const auto& b : into) v.add(b);
    return system::receive(fd, v.get());
  }
};

}  // namespace thrum::net
