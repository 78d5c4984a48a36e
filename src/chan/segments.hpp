// Where an unbounded channel keeps its elements: a chain of segments, each twice as large as the one before.
//
// Elements enter at the end of the last segment and leave at the start of the first one. They never move from one
// segment to another, so the lock under which all this happens is held no longer with a million elements than with one.
// A segment that is drained is retired; memory is taken and given back without the lock, by whoever sends or receives.
//
// Rejected: one ring that doubles, since all elements would be moved while everybody else waits for the lock.
#pragma once

#include <cstddef>

#include <thrum/detail/channel_core.hpp>

namespace thrum::detail {

class segment_chain {
 public:
  struct segment {
    segment* next;
    std::size_t capacity;  // In elements, which follow.
  };

  // Without the lock. `capacity` as next_capacity() said.
  static segment* allocate(const element_type& type, std::size_t capacity);  // Throws std::bad_alloc.
  static void free(const element_type& type, segment* first) noexcept;       // All that follow, too.

  // All others under the channel's lock.
  bool full() const noexcept { return !last_ || end_ == last_->capacity; }
  bool drained() const noexcept { return retired_ != nullptr; }
  std::size_t next_capacity(const element_type& type) const noexcept;
  void add(segment* s) noexcept;  // When full.
  segment* take_retired() noexcept;

  void* claim_back(const element_type& type) noexcept;  // When not full: where the next element is to be.
  void* front(const element_type& type) noexcept;       // When not empty: the oldest element.
  void release_front(const element_type& type, std::size_t left) noexcept;  // It has been moved out; so many are left.

  void destroy_all(const element_type& type, std::size_t count) noexcept;

 private:
  static constexpr std::size_t first_bytes = 512, most_bytes = 64 << 10;
  static constexpr std::size_t kept_bytes = 4 << 10;  // What an empty channel may keep, so as not to allocate again.

  void retire_front() noexcept;

  segment* first_ = nullptr;
  segment* last_ = nullptr;
  std::size_t begin_ = 0;  // In the first segment: the oldest element.
  std::size_t end_ = 0;    // In the last one: the first free place.
  segment* retired_ = nullptr;
};

}  // namespace thrum::detail
