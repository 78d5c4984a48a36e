// A four-byte lock for the runtime's short critical sections.
//
// Model: test-and-set; a contender spins briefly, then yields the core, then sleeps for growing intervals. Unlocking
// is one plain store, which is why contenders poll instead of queueing on a futex: sections are a few dozen
// instructions long, and the store is on every hot path. After a processor hand-off threads outnumber cores, so a
// contender must not spin for long: the owner may be descheduled.
//
// Never held across user code, a blocking call or a fiber switch.
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

namespace thrum::detail {

class spinlock {
 public:
  constexpr spinlock() noexcept = default;
  spinlock(const spinlock&) = delete;
  spinlock& operator=(const spinlock&) = delete;

  void lock() noexcept {
    // Acquire pairs with the release in unlock().
    if (state_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]]
      lock_slow();
  }

  bool try_lock() noexcept {
    return state_.load(std::memory_order_relaxed) == 0 && state_.exchange(1, std::memory_order_acquire) == 0;
  }

  // Release pairs with the acquire in lock().
  void unlock() noexcept { state_.store(0, std::memory_order_release); }

 private:
  void lock_slow() noexcept;

  atomic<std::uint32_t> state_{0};
};

}  // namespace thrum::detail
