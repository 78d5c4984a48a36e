// The waiter: whatever can be parked, and the one word that decides who wakes it.
//
// Model. A waiter (a fiber, a task or a plain OS thread) waits in episodes. It opens an episode, enqueues itself
// wherever it may be woken from, and parks. Wakers, timers and cancellation compete for the episode with one
// compare-and-swap each (claim()); exactly one wins, and the winner alone makes the waiter runnable. The owner then
// reads who won and takes itself out of the other queues. So nobody is woken twice, no wake-up is lost, and a loser
// leaves no trace.
//
// The word:
//   bit  0       parked: the waiter's context is saved; whoever claims it must make it runnable
//   bit  1       inspected: a dump reads the parked stack; a claimer leaves the resuming to the inspector
//   bit  2       cancellable: cancellation may claim this episode
//   bit  3       timed: a timer will claim this episode, if nobody else does
//   bits 8..31   claim code: open, closed, timed_out, cancelled, or first_clause + i
//   bits 32..63  number of the episode, so that a late timer or canceller cannot hit a later one
//
// Transitions, all in this file (owner = the waiter itself):
//   open_episode    owner     closed -> open, next number
//   publish_parked  whoever runs after the owner's switch: open -> open|parked, perhaps timed, or tells that it was
//                   claimed before
//   claim           anyone    open -> code, parked cleared
//   close_episode   owner     code -> closed
//   begin/end_inspection      parked -> parked|inspected and back
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

namespace thrum::sched {

enum class claim_code : std::uint32_t {
  open = 0,
  timed_out = 1,
  cancelled = 2,
  first_clause = 16,
  closed = 0xffffff,
};

constexpr claim_code clause_code(std::uint32_t index) noexcept {
  return static_cast<claim_code>(static_cast<std::uint32_t>(claim_code::first_clause) + index);
}
constexpr std::uint32_t clause_index(claim_code code) noexcept {
  return static_cast<std::uint32_t>(code) - static_cast<std::uint32_t>(claim_code::first_clause);
}

// What a claimer has to do next.
enum class claim_result {
  too_late,  // Somebody else won.
  won,       // Nothing to do: the waiter has not parked yet and will notice, or an inspector will resume it.
  resume,    // The waiter is parked: the caller must make it runnable.
};

enum class waiter_kind : std::uint8_t { fiber, task, thread };

class waiter {
 public:
  explicit waiter(waiter_kind kind) noexcept : kind_(kind) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  waiter_kind kind() const noexcept { return kind_; }

  static constexpr std::uint64_t parked_bit = 1, inspected_bit = 2, cancellable_bit = 4, timed_bit = 8;

  // Owner. Returns the word of the episode, for timers.
  std::uint64_t open_episode(bool cancellable) noexcept {
    const auto number = (word_.load(std::memory_order_relaxed) >> 32) + 1;
    const std::uint64_t w = number << 32 | (cancellable ? cancellable_bit : 0);
    // Release: a canceller that reads the open word sees what the owner did before. The store need not be ordered
    // before the owner's later check for cancellation: publish_parked() is a full fence and is followed by a recheck.
    word_.store(w, std::memory_order_release);
    return w;
  }

  // After the owner's context has been saved. True: parked. False: claimed before, so the caller makes it runnable.
  bool publish_parked(bool timed = false) noexcept {
    const auto parked = timed ? parked_bit | timed_bit : parked_bit;
    auto w = word_.load(std::memory_order_relaxed);
    while (code_of(w) == claim_code::open) {
      // seq_cst: forbids that the parker misses a cancellation flag while the canceller misses the parked waiter
      // (each stores its own word, then reads the other's). Release publishes the saved context to claim().
      if (word_.compare_exchange_weak(w, w | parked, std::memory_order_seq_cst, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  // Acquire on success pairs with publish_parked(): the claimer may touch the context.
  claim_result claim(claim_code code) noexcept {
    auto w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (code_of(w) != claim_code::open) return claim_result::too_late;
      if (try_claim(w, code)) return outcome(w);
    }
  }

  // Claims only the episode that open_episode() numbered with `episode`.
  claim_result claim_episode(std::uint64_t episode, claim_code code) noexcept {
    auto w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (code_of(w) != claim_code::open || w >> 32 != episode >> 32) return claim_result::too_late;
      if (try_claim(w, code)) return outcome(w);
    }
  }

  // Claims that episode only if the waiter is parked, so that it runs no sooner than the caller makes it run.
  bool claim_parked(std::uint64_t episode, claim_code code) noexcept {
    auto w = word_.load(std::memory_order_acquire);
    while (code_of(w) == claim_code::open && w >> 32 == episode >> 32 &&
           (w & (parked_bit | inspected_bit)) == parked_bit)
      if (try_claim(w, code)) return true;
    return false;
  }

  // The word of an episode by its number, for those who keep the number only.
  static constexpr std::uint64_t numbered(std::uint32_t episode) noexcept { return std::uint64_t{episode} << 32; }
  static constexpr std::uint32_t number_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 32);
  }

  // For cancellation: claims the episode that `seen`, a word read before, belongs to if it may be cancelled.
  claim_result claim_cancellable(std::uint64_t seen) noexcept {
    if ((seen & cancellable_bit) == 0) return claim_result::too_late;
    return claim_episode(seen, claim_code::cancelled);
  }

  // Owner. How the episode ended; acquire pairs with the claim.
  claim_code code() const noexcept { return code_of(word_.load(std::memory_order_acquire)); }
  bool claimed() const noexcept { return code() != claim_code::open; }

  // Owner, after the claim and after leaving all queues.
  void close_episode() noexcept {
    const auto w = word_.load(std::memory_order_relaxed);
    word_.store((w >> 32 << 32) | closed_word, std::memory_order_relaxed);
  }

  // inspection.hpp. True: the waiter is parked and stays so until end_inspection().
  bool begin_inspection() noexcept {
    auto w = word_.load(std::memory_order_acquire);
    while (code_of(w) == claim_code::open && (w & parked_bit) && !(w & inspected_bit))
      if (word_.compare_exchange_weak(w, w | inspected_bit, std::memory_order_acq_rel)) return true;
    return false;
  }

  // `resume` when the waiter was claimed during the inspection.
  claim_result end_inspection() noexcept {
    auto w = word_.load(std::memory_order_acquire);
    for (;;) {
      const bool claimed = code_of(w) != claim_code::open;
      const auto next = w & ~(claimed ? inspected_bit | parked_bit : inspected_bit);
      if (word_.compare_exchange_weak(w, next, std::memory_order_acq_rel))
        return claimed ? claim_result::resume : claim_result::won;
    }
  }

  // The word's low half, on which a plain thread sleeps.
  static constexpr std::uint32_t low_half(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w); }
  // seq_cst: pairs with publish_parked(), for cancellation.
  std::uint64_t word() const noexcept { return word_.load(std::memory_order_seq_cst); }
  const detail::atomic<std::uint64_t>& word_address() const noexcept { return word_; }

  static constexpr claim_code code_of(std::uint64_t w) noexcept {
    return static_cast<claim_code>(static_cast<std::uint32_t>(w) >> 8);
  }

 private:
  static constexpr std::uint64_t closed_word = static_cast<std::uint64_t>(claim_code::closed) << 8;

  bool try_claim(std::uint64_t& w, claim_code code) noexcept {
    // An inspected waiter keeps its parked bit: end_inspection() resumes it.
    auto next = (w >> 32 << 32) | static_cast<std::uint64_t>(code) << 8;
    if (w & inspected_bit) [[unlikely]]
      next |= w & (parked_bit | inspected_bit);
    return word_.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  static claim_result outcome(std::uint64_t before) noexcept {
    return (before & (parked_bit | inspected_bit)) == parked_bit ? claim_result::resume : claim_result::won;
  }

  detail::atomic<std::uint64_t> word_{closed_word};
  const waiter_kind kind_;
};

}  // namespace thrum::sched
