// Which processors sleep, and who may wake them.
//
// The race between going to sleep and bringing work has two sides:
//   sleeper: (1) announces itself here, (2) full fence, (3) looks at all queues once more, (4) sleeps
//   waker:   (1) makes work visible,    (2) full fence, (3) reads this set
// Each does its write before its read, with a seq_cst fence between: at least one sees the other.
//
// To avoid a stampede a waker does nothing while somebody searches: the searcher will find the work, and when it has
// found some it wakes the next. A searcher that gives up leaves the count (a seq_cst operation) before its last look.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <mutex>

#include <thrum/detail/atomic.hpp>

#include "base/cpu.hpp"
#include "sched/sizes.hpp"

namespace thrum::sched {

class idle_set {
 public:
  static constexpr unsigned processors_max = sizes::processors;

  void announce(unsigned processor) noexcept {
    words_[processor / 64].fetch_or(bit(processor), std::memory_order_seq_cst);
    count_.fetch_add(1, std::memory_order_seq_cst);
  }

  // Takes this processor out. True when the caller was the one to do so.
  bool remove(unsigned processor) noexcept {
    if (!(words_[processor / 64].fetch_and(~bit(processor), std::memory_order_seq_cst) & bit(processor))) return false;
    count_.fetch_sub(1, std::memory_order_seq_cst);
    return true;
  }

  // Takes any processor out; -1 when none sleeps.
  int take_one() noexcept {
    for (unsigned i = 0; i < words_.size(); ++i) {
      for (auto w = words_[i].load(std::memory_order_relaxed); w != 0; w &= w - 1) {
        const auto processor = i * 64 + static_cast<unsigned>(std::countr_zero(w));
        if (remove(processor)) return static_cast<int>(processor);
      }
    }
    return -1;
  }

  unsigned count() const noexcept { return count_.load(std::memory_order_seq_cst); }
  bool contains(unsigned processor) const noexcept {
    return words_[processor / 64].load(std::memory_order_relaxed) & bit(processor);
  }

  // The sleeper. Calls sleep() unless there is work. True when a waker has taken it out: it is searching on its behalf.
  //
  // Its poller is locked before it is announced. Otherwise a waker might take it out and wake the poller, and one who
  // serves pollers in the place of their owners, finding this one neglected and free, throw that event away; it would
  // sleep, counted as searching, and nobody would be woken any more.
  template <class Lock, class Visible, class Sleep>
  bool sleep(unsigned processor, Lock& poller, Visible work_is_visible, Sleep sleep) noexcept {
    std::lock_guard held(poller);
    announce(processor);
    detail::atomic_thread_fence(std::memory_order_seq_cst);  // Step 2; pairs with wake_one().
    if (!work_is_visible()) sleep();
    return !remove(processor);
  }

  // The waker, whose work is visible. Calls wake(processor) for one that sleeps, which counts as searching from then
  // on.
  template <class Wake>
  void wake_one(Wake wake) noexcept {
    for (;;) {
      detail::atomic_thread_fence(std::memory_order_seq_cst);  // Step 2; pairs with sleep().
      if (!wants_wake() || !try_begin_first_search()) return;
      const int processor = take_one();
      if (processor >= 0) return wake(static_cast<unsigned>(processor));
      // Nobody slept after all. But while we counted as searching, one may have gone to sleep and another waker may
      // have left its work to us: look again. Whoever is leaving the set may be in the count for a moment yet.
      end_search();
      base::cpu_relax();
    }
  }

  // After the waker's fence: is there anybody to wake, and is nobody searching yet?
  bool wants_wake() const noexcept {
    return count_.load(std::memory_order_relaxed) != 0 && searching_.load(std::memory_order_relaxed) == 0;
  }
  void begin_search() noexcept { searching_.fetch_add(1, std::memory_order_seq_cst); }
  // True when this was the last searcher.
  bool end_search() noexcept { return searching_.fetch_sub(1, std::memory_order_seq_cst) == 1; }
  // Claims the right to be the first searcher.
  bool try_begin_first_search() noexcept {
    int none = 0;
    return searching_.compare_exchange_strong(none, 1, std::memory_order_seq_cst);
  }

 private:
  static constexpr std::uint64_t bit(unsigned processor) noexcept { return std::uint64_t{1} << (processor % 64); }

  std::array<detail::atomic<std::uint64_t>, processors_max / 64> words_{};
  detail::atomic<unsigned> count_{0};
  detail::atomic<int> searching_{0};
};

}  // namespace thrum::sched
