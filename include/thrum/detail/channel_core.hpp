// What channel<T> and select share with the library: untyped elements and the clauses of a select.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include <thrum/detail/async.hpp>

namespace thrum::detail {

// How the core handles elements it does not know. All are noexcept: element types must be nothrow movable.
struct element_type {
  std::size_t size;
  std::size_t align;
  bool bytes;                                   // Moved by copying its bytes; needs no destruction.
  void (*move)(void* to, void* from) noexcept;  // Constructs *to from *from, which stays alive, moved from.
  void (*destroy)(void* element) noexcept;
};

template <class T>
inline constexpr element_type element_type_of{
    sizeof(T), alignof(T), std::is_trivially_copyable_v<T>,
    [](void* to, void* from) noexcept { ::new (to) T(static_cast<T&&>(*static_cast<T*>(from))); },
    [](void* element) noexcept { static_cast<T*>(element)->~T(); }};

enum class channel_result : std::uint8_t { done, would_block, closed, timed_out };

struct channel_core;  // Reference counted; see src/chan/channel.cpp.

// Throws std::bad_alloc; std::length_error when the buffer would exceed the address space.
channel_core* make_channel(const element_type& type, std::size_t capacity);
channel_core* make_unbounded_channel(const element_type& type);
inline constexpr std::size_t unbounded_capacity = SIZE_MAX;
void retain(channel_core* c) noexcept;
void release(channel_core* c) noexcept;

// `c` may be null: blocks for ever. A deadline of INT64_MIN only tries. Throws cancelled.
inline constexpr std::int64_t only_try = INT64_MIN;
channel_result channel_send(channel_core* c, void* element, std::int64_t deadline_ns);
channel_result channel_receive(channel_core* c, void* into, std::int64_t deadline_ns);
// As a try, but no cancellation point.
channel_result channel_take(channel_core& c, void* into) noexcept;
bool channel_close(channel_core* c);                      // False: it was closed already.
bool channel_take(channel_core* c, void* into) noexcept;  // Only tries; also in a cancelled scope.
bool channel_closed(const channel_core* c) noexcept;
std::size_t channel_size(const channel_core* c) noexcept;
std::size_t channel_capacity(const channel_core* c) noexcept;

// The same for a task. begin: false when it has to be suspended.
struct channel_wait {
  alignas(8) std::byte node[48];
  channel_core* core = nullptr;
  channel_result result = channel_result::done;
  bool sending = false;
  bool waiting = false;
};
bool begin_channel_send(channel_wait& w, void* element, async_timer* timer, std::int64_t deadline_ns);
bool begin_channel_receive(channel_wait& w, void* into, async_timer* timer, std::int64_t deadline_ns);
channel_result end_channel(channel_wait& w, async_timer* timer);

}  // namespace thrum::detail
