// Unbounded channels: the chain of segments, and how channels use it.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "chan/channel_core.hpp"

namespace thrum::detail {
namespace {

using segment = segment_chain::segment;

std::size_t segment_align(const element_type& type) noexcept { return std::max(type.align, alignof(segment)); }

void* element_of(const element_type& type, segment& s, std::size_t i) noexcept {
  const auto offset = (sizeof(segment) + type.align - 1) / type.align * type.align;
  return reinterpret_cast<std::byte*>(&s) + offset + i * type.size;
}

void move_element(const element_type& type, void* to, void* from) noexcept {
  type.bytes ? void(std::memcpy(to, from, type.size)) : type.move(to, from);
}

}  // namespace

segment* segment_chain::allocate(const element_type& type, std::size_t capacity) {
  const auto align = segment_align(type);
  const auto head = (sizeof(segment) + type.align - 1) / type.align * type.align;
  return new (::operator new (head + capacity * type.size, std::align_val_t{align})) segment{nullptr, capacity};
}

void segment_chain::free(const element_type& type, segment* first) noexcept {
  while (first) ::operator delete (std::exchange(first, first->next), std::align_val_t{segment_align(type)});
}

std::size_t segment_chain::next_capacity(const element_type& type) const noexcept {
  const auto least = std::max<std::size_t>(1, first_bytes / type.size);
  const auto most = std::max<std::size_t>(1, most_bytes / type.size);
  return last_ ? std::min(2 * last_->capacity, most) : least;
}

void segment_chain::add(segment* s) noexcept {
  (last_ ? last_->next : first_) = s;
  last_ = s;
  end_ = 0;
}

segment* segment_chain::take_retired() noexcept { return std::exchange(retired_, nullptr); }

void* segment_chain::claim_back(const element_type& type) noexcept { return element_of(type, *last_, end_++); }

void* segment_chain::front(const element_type& type) noexcept {
  // The first segment may be used up while the next one has just been added.
  if (begin_ == first_->capacity) retire_front();
  return element_of(type, *first_, begin_);
}

void segment_chain::release_front(const element_type& type, std::size_t left) noexcept {
  ++begin_;
  if (left > 0) {
    if (begin_ == first_->capacity) retire_front();
    return;
  }
  while (first_ != last_) retire_front();
  begin_ = end_ = 0;
  if (first_->capacity * type.size <= kept_bytes) return;
  retire_front();
  last_ = nullptr;
}

void segment_chain::retire_front() noexcept {
  segment* s = std::exchange(first_, first_->next);
  s->next = std::exchange(retired_, s);
  begin_ = 0;
}

void segment_chain::destroy_all(const element_type& type, std::size_t count) noexcept {
  for (; count > 0; --count) {
    if (!type.bytes) type.destroy(front(type));
    release_front(type, count - 1);
  }
  free(type, take_retired());
  free(type, std::exchange(first_, nullptr));
}

// ---------------------------------------------------------------------------------------------------------------

channel_core* make_unbounded_channel(const element_type& type) {
  static_assert(alignof(segment_chain) <= alignof(channel_core));
  const auto align = std::align_val_t{std::max(type.align, alignof(channel_core))};  // As release() frees it.
  auto* memory = static_cast<std::byte*>(::operator new(sizeof(channel_core) + sizeof(segment_chain), align));
  auto* chain = new (memory + sizeof(channel_core)) segment_chain;
  return new (memory) channel_core(type, unbounded_capacity, chain);
}

void channel_core::make_room() {
  std::size_t needed;
  {
    std::lock_guard held(lock);
    if (closed || !segments().full()) return;
    needed = segments().next_capacity(type);
  }
  segment* more = segment_chain::allocate(type, needed);
  {
    std::lock_guard held(lock);
    if (segments().full()) segments().add(std::exchange(more, nullptr));
  }
  segment_chain::free(type, more);
}

void channel_core::give_back() noexcept {
  segment* drained;
  {
    std::lock_guard held(lock);
    drained = segments().take_retired();
  }
  segment_chain::free(type, drained);
}

channel_result channel_core::push_unbounded(void* element) noexcept {
  if (segments().full()) return channel_result::would_block;
  move_element(type, segments().claim_back(type), element);
  count = count + 1;
  return channel_result::done;
}

void channel_core::pop_unbounded(void* into) noexcept {
  void* first = segments().front(type);
  move_element(type, into, first);
  destroy(first);
  count = count - 1;
  segments().release_front(type, count);
}

}  // namespace thrum::detail
