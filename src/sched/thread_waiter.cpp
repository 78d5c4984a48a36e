// Parking plain threads.
#include "sched/thread_waiter.hpp"

#include <bit>
#include <utility>

#include "base/fork.hpp"
#include "os/futex.hpp"

namespace thrum::sched {
namespace {

detail::atomic<thread_waiter*> all{nullptr};  // Only grows.
detail::atomic<int> inert_count{0};
thread_local int inert = 0;  // Of plain threads, which do not migrate.

// The futex is the word's low half: its first four bytes on the little-endian machines that we run on.
static_assert(std::endian::native == std::endian::little);
const detail::atomic<std::uint32_t>& low_half_of(const detail::atomic<std::uint64_t>& word) noexcept {
  return reinterpret_cast<const detail::atomic<std::uint32_t>&>(word);
}

}  // namespace

thread_waiter::thread_waiter() noexcept : waiter(waiter_kind::thread), next_of_all_(all.load()) {
  // Publishes the waiter to take_census().
  while (!all.compare_exchange_weak(next_of_all_, this)) {
  }
}

void thread_waiter::park(std::int64_t deadline_ns, wait_reason reason) noexcept {
  reason_ = reason;
  // A thread that will wake by itself proves nothing, and an inert one is counted as such.
  for_ever_.store(deadline_ns == os::no_deadline && !inert, std::memory_order_relaxed);
  if (!publish_parked(deadline_ns != os::no_deadline)) return;
  for (;;) {
    const auto w = word();
    const bool claimed = code_of(w) != claim_code::open;
    if (claimed && !(w & inspected_bit)) break;
    if (os::futex_wait(low_half_of(word_address()), low_half(w), claimed ? os::no_deadline : deadline_ns)) continue;
    claim(claim_code::timed_out);
  }
}

void thread_waiter::resume() noexcept {
  base::refuse_after_fork();
  os::futex_wake(low_half_of(word_address()), 1);
}

void thread_waiter::declare_inert(bool is) noexcept {
  const int before = std::exchange(inert, inert + (is ? 1 : -1));
  if ((before > 0) != (inert > 0)) inert_count.fetch_add(is ? 1 : -1, std::memory_order_seq_cst);
}

int thread_waiter::inert_threads() noexcept { return inert_count.load(std::memory_order_seq_cst); }

thread_waiter* thread_waiter::newest() noexcept { return all.load(); }

thread_waiter::census thread_waiter::take_census() noexcept {
  census c;
  for (const auto* w = all.load(); w; w = w->next_of_all_) {
    const auto word = w->word();
    const bool waits = code_of(word) == claim_code::open && (word & parked_bit) != 0;
    if (!waits || !w->for_ever_.load(std::memory_order_relaxed)) continue;
    ++c.waiting;
    // An odd factor keeps different numbers different; the waiter's address and its episode make one.
    c.waits += (reinterpret_cast<std::uintptr_t>(w) ^ (word >> 32 << 24)) * 0x9e3779b97f4a7c15u;
  }
  return c;
}

}  // namespace thrum::sched
