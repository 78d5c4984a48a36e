// The untyped channel: a ring of elements between a queue of senders and a queue of receivers.
//
// Invariants, under `lock`:
//   - receivers wait only while the ring is empty and no sender waits, and the channel is open;
//   - senders wait only while the ring is full, and the channel is open;
//   - count <= capacity; elements are in slots head, head + 1, … (mod capacity). An unbounded channel has a
//     chain of segments instead.
//
// Handing an element to a waiter: the element is moved first and the waiter claimed second. If the claim fails (the
// waiter has timed out, was cancelled, or its select chose another clause) the element is moved back. This order
// lets a waiter that has not parked yet return at once when it sees that it was claimed: the element is there. The
// waiter's storage cannot vanish meanwhile: to leave, it must take the lock and its node out of the queue.
#pragma once

#include <cstddef>
#include <cstdint>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/channel_core.hpp>
#include <thrum/detail/wait_queue.hpp>

#include "chan/segments.hpp"
#include "sched/wait.hpp"

namespace thrum::detail {

struct alignas(64) channel_core {
  channel_core(const element_type& type, std::size_t capacity, void* ring) noexcept
      : type(type), capacity(capacity), ring(static_cast<std::byte*>(ring)) {}
  ~channel_core();

  // Under the lock: does it at once if possible. `wake` is to be finished after unlocking.
  channel_result try_send(void* element, sched::claimed_waiter& wake) noexcept;
  channel_result try_receive(void* into, sched::claimed_waiter& wake) noexcept;
  // Whether there seems to be something to do, without the lock; an unbounded channel is never full. Touches nothing:
  // who finds another channel ready could as well have come before this one was.
  bool seems_ready_to_send() const noexcept { return closed || !receivers.empty() || count < capacity; }
  bool seems_ready_to_receive() const noexcept { return count > 0 || !senders.empty() || closed; }
  // What is there for who waits, told by others than itself.
  enum class chance : std::uint8_t { none, closed, in_ring, partner };
  chance to_send(const sched::waiter& who) const noexcept;
  chance to_receive(const sched::waiter& who) const noexcept;

  // Constant after construction.
  const element_type& type;
  const std::size_t capacity;
  std::byte* const ring;  // In the same allocation, behind the core.

  // Own synchronisation.
  detail::atomic<std::size_t> references{1};
  mutable object_lock lock;

  // Guarded by lock.
  glanced<bool> closed = false;
  std::size_t head = 0;
  glanced<std::size_t> count = 0;
  wait_list senders;
  wait_list receivers;

  // For unbounded channels (unbounded.cpp), whose segments lie in the place of the ring. Without the lock: makes room
  // for an element, as far as others leave it; frees what was drained. A try_send() that finds no room says
  // would_block.
  bool unbounded() const noexcept { return capacity == unbounded_capacity; }
  segment_chain& segments() noexcept { return *reinterpret_cast<segment_chain*>(ring); }
  void make_room();
  void give_back() noexcept;
  bool has_drained() noexcept { return unbounded() && segments().drained(); }  // Under the lock.

  // The same, inlined into the plain operations.
  channel_result try_send_here(void* element, sched::claimed_waiter& wake) noexcept;
  channel_result try_receive_here(void* into, sched::claimed_waiter& wake) noexcept;
  // i < 2 * capacity.
  void* slot(std::size_t i) noexcept { return ring + (i >= capacity ? i - capacity : i) * type.size; }
  void move(void* to, void* from) const noexcept;
  void destroy(void* element) const noexcept {
    if (!type.bytes) type.destroy(element);
  }
  void undo_move(void* from, void* to) const noexcept;
  sched::claimed_waiter give(sched::wait_node& receiver, void* element) noexcept;
  sched::claimed_waiter take(sched::wait_node& sender, void* into) noexcept;
  bool take_from_sender(void* into, sched::claimed_waiter& wake) noexcept;
  void pop(void* into) noexcept;
  channel_result push_unbounded(void* element) noexcept;
  void pop_unbounded(void* into) noexcept;
};

// A node's code tells success; the next code that the channel was closed.
inline sched::claim_code closed_code(sched::claim_code success) noexcept {
  return static_cast<sched::claim_code>(static_cast<std::uint32_t>(success) + 1);
}

}  // namespace thrum::detail
