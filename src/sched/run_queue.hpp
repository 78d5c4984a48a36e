// A processor's queue of runnable fibers: a bounded ring, filled and drained by its owner, stolen from by others.
//
// Model: head and tail are free-running counters. Only the owner moves the tail. The owner and thieves take from the
// head with a compare-and-swap; a thief takes half, within limits. The design is that of Go's runqueue (proc.go,
// runqput, runqget, runqgrab), which follows Vyukov's. Rejected: a Chase-Lev deque, from which thieves take one at a
// time.
//
// The owner may also take from the tail: pop_newest(). A thief that has read head and tail before must then fail: so
// the head carries a generation, which pop_newest() moves on after it has lowered the tail.
//
//   pop_newest  tail = t - 1; CAS(head: same, generation + 1); take slot t - 1, unless head has passed it
//   thief       read head and generation, then tail; copy the slots; CAS(head: + n, same generation)
//
// A thief that reads the new generation reads the new tail, too; one that has read the old one fails. For a moment the
// tail may stand one below the head: then the queue is empty.
//
// A runtime with one processor has no thieves (`shared` false): its owner needs no compare-and-swap.
#pragma once

#include <algorithm>
#include <cstdint>

#include <thrum/detail/atomic.hpp>

#include "sched/sizes.hpp"

namespace thrum::sched {

struct activity;

template <std::uint32_t Capacity, std::uint32_t StealMax>
class bounded_run_queue {
 public:
  static constexpr std::uint32_t capacity = Capacity;
  static constexpr std::uint32_t steal_max = StealMax;

  explicit bounded_run_queue(bool shared) noexcept : shared_(shared) {}

  // Owner. False when full.
  bool push(activity* f) noexcept {
    // Acquire pairs with the thieves' release on head: their reads of the slots are done before we overwrite them.
    const auto head = place(head_.load(std::memory_order_acquire));
    const auto tail = tail_.load(std::memory_order_relaxed);
    if (tail - head >= capacity) return false;
    slots_[tail % capacity].store(f, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // Pairs with the acquire in steal_into().
    return true;
  }

  // Owner. Null when empty.
  activity* pop() noexcept {
    auto head = head_.load(std::memory_order_relaxed);
    const auto tail = tail_.load(std::memory_order_relaxed);
    for (;;) {
      if (place(head) == tail) return nullptr;
      auto* f = slots_[place(head) % capacity].load(std::memory_order_relaxed);
      if (!shared_) {
        head_.store(advanced(head, 1), std::memory_order_relaxed);
        return f;
      }
      // Acquire on failure: a thief moved head; acq_rel on success so that push() may reuse the slot.
      if (head_.compare_exchange_weak(head, advanced(head, 1), std::memory_order_acq_rel, std::memory_order_acquire))
        return f;
    }
  }

  // Owner. The one that was pushed last; null when empty.
  activity* pop_newest() noexcept {
    auto head = head_.load(std::memory_order_relaxed);
    const auto last = tail_.load(std::memory_order_relaxed) - 1;
    if (place(head) == last + 1) return nullptr;
    // Release, as in push(): a thief that reads it, but still the old generation, may take what lies below.
    tail_.store(last, std::memory_order_release);
    // Acquire on failure: a thief moved head. Release: who reads the generation reads the tail.
    while (shared_ && !head_.compare_exchange_weak(head, head + one_generation, std::memory_order_acq_rel,
                                                   std::memory_order_acquire)) {
      if (place(head) != last + 1) continue;
      tail_.store(last + 1, std::memory_order_relaxed);  // Thieves took them all.
      return nullptr;
    }
    return slots_[last % capacity].load(std::memory_order_relaxed);
  }

  // The owner of `thief`, which is empty, moves half of this queue (rounded up) there and returns one more fiber to
  // run, or null.
  activity* steal_into(bounded_run_queue& thief) noexcept {
    const auto to = thief.tail_.load(std::memory_order_relaxed);
    for (;;) {
      // Both acquire: head first, so that tail - head can only be too large, or one too small for a moment
      // (pop_newest).
      auto head = head_.load(std::memory_order_acquire);
      const auto tail = tail_.load(std::memory_order_acquire);
      const auto available = tail - place(head);
      if (available == 0 || available == ~std::uint32_t{0}) return nullptr;
      if (available > capacity) continue;  // head and tail were read apart: read them again.
      const auto n = std::min(available - available / 2, steal_max);
      for (std::uint32_t i = 0; i < n; ++i)
        thief.slots_[(to + i) % capacity].store(slots_[(place(head) + i) % capacity].load(std::memory_order_relaxed),
                                                std::memory_order_relaxed);
      // Release: the slots were read before the owner may overwrite them (push()'s acquire of head).
      if (!head_.compare_exchange_weak(head, advanced(head, n), std::memory_order_acq_rel, std::memory_order_relaxed))
        continue;
      auto* last = thief.slots_[(to + n - 1) % capacity].load(std::memory_order_relaxed);
      thief.tail_.store(to + n - 1, std::memory_order_release);
      return last;
    }
  }

  // Owner. How many more fit; thieves can only make it more.
  std::uint32_t room() const noexcept {
    return capacity - (tail_.load(std::memory_order_relaxed) - place(head_.load(std::memory_order_acquire)));
  }

  // Owner. The fiber that stands `place` behind the head, for prefetching only; null when the queue is not so long.
  activity* peek(std::uint32_t behind) const noexcept {
    const auto head = place(head_.load(std::memory_order_relaxed));
    if (tail_.load(std::memory_order_relaxed) - head <= behind) return nullptr;
    return slots_[(head + behind) % capacity].load(std::memory_order_relaxed);
  }

  std::uint32_t size() const noexcept {
    const auto head = place(head_.load(std::memory_order_acquire));
    const auto tail = tail_.load(std::memory_order_acquire);
    return tail - head > capacity ? 0 : tail - head;
  }
  bool empty() const noexcept { return size() == 0; }

 private:
  // The head: place in the low half, generation in the high half.
  static constexpr std::uint64_t one_generation = std::uint64_t{1} << 32;
  static std::uint32_t place(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }
  static std::uint64_t advanced(std::uint64_t head, std::uint32_t n) noexcept {
    return (head & ~(one_generation - 1)) | (place(head) + n);
  }

  const bool shared_;
  alignas(64) detail::atomic<std::uint64_t> head_{0};
  alignas(64) detail::atomic<std::uint32_t> tail_{0};
  detail::atomic<activity*> slots_[capacity]{};
};

using run_queue = bounded_run_queue<sizes::run_queue, sizes::stolen_at_once>;

}  // namespace thrum::sched
