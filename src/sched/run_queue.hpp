// A processor's queue of runnable fibers: a bounded ring, filled and drained by its owner, stolen from by others.
//
// Model: head and tail are free-running counters. Only the owner moves the tail. The owner and thieves take from the
// head with a compare-and-swap; a thief takes half, within limits. The design is that of Go's runqueue (proc.go,
// runqput, runqget, runqgrab), which follows Vyukov's. Rejected: a Chase-Lev deque, whose owner pops the newest: FIFO
// order is what keeps yield fair.
//
// A runtime with one processor has no thieves (`shared` false): its owner needs no compare-and-swap.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace thrum::sched {

struct fiber_control;

class run_queue {
 public:
  static constexpr std::uint32_t capacity = 4096;  // A burst of so many events on one processor stays in order.
  static constexpr std::uint32_t steal_max = 128;

  explicit run_queue(bool shared) noexcept : shared_(shared) {}

  // Owner. False when full.
  bool push(fiber_control* f) noexcept {
    // Acquire pairs with the thieves' release on head: their reads of the slots are done before we overwrite them.
    const auto head = head_.load(std::memory_order_acquire);
    const auto tail = tail_.load(std::memory_order_relaxed);
    if (tail - head >= capacity) return false;
    slots_[tail % capacity].store(f, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // Pairs with the acquire in steal_into().
    return true;
  }

  // Owner. Null when empty.
  fiber_control* pop() noexcept {
    auto head = head_.load(std::memory_order_relaxed);
    const auto tail = tail_.load(std::memory_order_relaxed);
    for (;;) {
      if (head == tail) return nullptr;
      auto* f = slots_[head % capacity].load(std::memory_order_relaxed);
      if (!shared_) {
        head_.store(head + 1, std::memory_order_relaxed);
        return f;
      }
      // Acquire on failure: a thief moved head; acq_rel on success so that push() may reuse the slot.
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return f;
    }
  }

  // The owner of `thief` moves half of this queue (rounded up) there and returns one more fiber to run, or null.
  fiber_control* steal_into(run_queue& thief) noexcept {
    const auto to = thief.tail_.load(std::memory_order_relaxed);
    for (;;) {
      // Both acquire: head first, so that tail - head can only be too large, never negative.
      auto head = head_.load(std::memory_order_acquire);
      const auto tail = tail_.load(std::memory_order_acquire);
      const auto available = tail - head;
      if (available == 0) return nullptr;
      if (available > capacity) continue;  // head and tail were read apart: read them again.
      const auto n = std::min(available - available / 2, steal_max);
      for (std::uint32_t i = 0; i < n; ++i)
        thief.slots_[(to + i) % capacity].store(slots_[(head + i) % capacity].load(std::memory_order_relaxed),
                                                std::memory_order_relaxed);
      // Release: the slots were read before the owner may overwrite them (push()'s acquire of head).
      if (!head_.compare_exchange_weak(head, head + n, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      auto* last = thief.slots_[(to + n - 1) % capacity].load(std::memory_order_relaxed);
      thief.tail_.store(to + n - 1, std::memory_order_release);
      return last;
    }
  }

  // Owner. How many more fit; thieves can only make it more.
  std::uint32_t room() const noexcept {
    return capacity - (tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire));
  }

  // Owner. The fiber that stands `place` behind the head, for prefetching only; null when the queue is not so long.
  fiber_control* peek(std::uint32_t place) const noexcept {
    const auto head = head_.load(std::memory_order_relaxed);
    if (tail_.load(std::memory_order_relaxed) - head <= place) return nullptr;
    return slots_[(head + place) % capacity].load(std::memory_order_relaxed);
  }

  std::uint32_t size() const noexcept {
    const auto head = head_.load(std::memory_order_acquire);
    const auto tail = tail_.load(std::memory_order_acquire);
    return tail - head > capacity ? 0 : tail - head;
  }
  bool empty() const noexcept { return size() == 0; }

 private:
  const bool shared_;
  alignas(64) std::atomic<std::uint32_t> head_{0};
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::atomic<fiber_control*> slots_[capacity]{};
};

}  // namespace thrum::sched
