// A connection's buffer in thrum's servers. Allocated, not on the stack: its size is an option, and memory that is
// borrowed for a moment must not leave its pages to the stack.
#pragma once
#include <cstddef>
#include <memory>
#include <span>

namespace bench {

struct buffer {
  explicit buffer(std::size_t size)
      : bytes(std::make_unique_for_overwrite<std::byte[]>(size)), all(bytes.get(), size) {}
  std::unique_ptr<std::byte[]> bytes;
  std::span<std::byte> all;
};

}  // namespace bench
