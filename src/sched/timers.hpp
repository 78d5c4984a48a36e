// A processor's timers: O(1) to arm and to cancel when far away, exact when near.
//
// Model. A hierarchical timing wheel (Varghese and Lauck, 1987) whose slots are intrusive lists holds what is more
// than about a millisecond away; each level is 256 times coarser. When the slot of the current millisecond is
// reached, its timers move into a heap that fires them at their exact nanosecond. A typical timeout, which is cancelled
// long before it is due, therefore costs two list operations; a million sleepers cost a few each. Both are intrusive:
// arming a timer needs no memory, and so cannot fail.
//
// Rejected: one heap for all (Go's choice): cancelling and firing cost O(log n) cache misses with a million timers.
//
// Thread safety: everything is guarded by the lock inside; any thread may arm, cancel or fire.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/spinlock.hpp>

#include "sched/seams.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class timer_set;

// Belongs to whoever armed it, who must cancel it before it goes away.
struct timer {
  std::int64_t when = never;

  // What firing does. With a waiter: claims that episode with `code`. Otherwise calls `callback`, with no lock held.
  waiter* who = nullptr;
  std::uint64_t episode = 0;
  void (*callback)(timer&, runnable_batch& out) noexcept = nullptr;
  claim_code code = claim_code::timed_out;

  // Guarded by the set's lock.
  enum class place : std::uint8_t { nowhere, wheel, heap };
  std::uint16_t slot = 0;
  place at = place::nowhere;
  detail::atomic<bool> firing{false};  // Its callback runs; cancel() waits for it.
  detail::atomic<timer_set*> set{nullptr};
  timer* previous = nullptr;  // In the heap: the sibling before it or, for the first child, the parent.
  timer* next = nullptr;
  union {
    const void* ahead = nullptr;  // In the wheel: some way down the list, for prefetching only: it may be gone.
    timer* child;                 // In the heap: the first of those below it.
  };
};

// A pairing heap (Fredman, Sedgewick, Sleator and Tarjan, 1986), by time: pushing is O(1), taking out O(log n)
// amortised. Of two that are due at the same instant either may come first; with a source of chance, that decides.
class timer_heap {
 public:
  void break_ties_by(random_source& chance) noexcept { chance_ = &chance; }
  timer* first() const noexcept { return root_; }
  void push(timer& t) noexcept;
  void erase(timer& t) noexcept;

 private:
  bool comes_first(const timer& a, const timer& b) noexcept;
  timer* meld(timer* a, timer* b) noexcept;
  timer* meld_all(timer* first) noexcept;

  timer* root_ = nullptr;
  random_source* chance_ = nullptr;
};

class timer_set {
 public:
  timer_set() noexcept;

  // Has timers that are due at the same instant fire in any order, by chance. Before the first is armed.
  void break_ties_by(random_source& chance) noexcept { heap_.break_ties_by(chance); }

  // The timer must not be armed. Returns true when it is now the earliest, so that a sleeping worker must be told.
  bool arm(timer& t, std::int64_t now) noexcept;

  // After the call the timer is neither armed nor firing.
  static void cancel(timer& t) noexcept;

  // Fires what is due at `now`; collects the waiters that became runnable.
  void fire_due(std::int64_t now, runnable_batch& out) noexcept;

  // When to look next: exact for near timers, the start of the next slot for far ones; too early where what was first
  // has been cancelled. `never` when empty.
  std::int64_t next_deadline() const noexcept { return next_.load(std::memory_order_acquire); }
  std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  static constexpr int levels = 6;     // Enough for every time that 63 bits of nanoseconds can express.
  static constexpr int slot_bits = 8;  // The lowest level spans a quarter of a second: most timeouts move only once.
  static constexpr int slots = 1 << slot_bits;
  static constexpr int tick_bits = 20;  // A slot of level 0 spans 2^20 ns, about a millisecond.
  static_assert(tick_bits + levels * slot_bits >= 63);
  static constexpr std::int64_t near_ticks = 4;  // What is nearer goes to the heap at once.

  static constexpr int shift(int level) noexcept { return tick_bits + level * slot_bits; }

  std::int64_t place(timer& t) noexcept;  // Returns when to look, because of it.
  void link(timer& t, int level, std::int64_t tick) noexcept;
  void unlink(timer& t) noexcept;
  void advance(std::int64_t now) noexcept;
  std::int64_t first_slot_tick(int& level, int& slot) const noexcept;
  bool pop_due(std::int64_t now, timer*& out) noexcept;
  bool advance_next(std::int64_t look) noexcept;
  void update_next() noexcept;
  void mark(std::size_t level, std::size_t slot, bool occupied) noexcept;
  int first_occupied(std::size_t level) const noexcept;

  mutable detail::spinlock lock_;
  detail::atomic<std::int64_t> next_{never};
  detail::atomic<std::size_t> count_{0};

  // Guarded by lock_.
  static constexpr std::size_t prefetch_distance = 4;
  std::array<const void*, prefetch_distance> linked_last_{};  // In turn; see timer::ahead.
  std::size_t linked_ = 0;
  std::int64_t tick_ = 0;  // The wheel is served up to this level-0 tick; everything due in it is in the heap.
  using slot_set = std::array<std::uint64_t, slots / 64>;
  std::array<slot_set, levels> occupied_{};
  std::array<std::array<timer*, slots>, levels> wheel_{};
  timer_heap heap_;
};

}  // namespace thrum::sched
