// Parking plain threads.
#include "sched/thread_waiter.hpp"

#include <bit>

#include "base/fork.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"

namespace thrum::sched {
namespace {

std::atomic<int> parked{0};

// The futex is the word's low half: its first four bytes on the little-endian machines that we run on.
static_assert(std::endian::native == std::endian::little);
const std::atomic<std::uint32_t>& low_half_of(const std::atomic<std::uint64_t>& word) noexcept {
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(word);
}

}  // namespace

thread_waiter::thread_waiter() noexcept : waiter(waiter_kind::thread), tid(os::thread_id()) {}

thread_waiter& thread_waiter::mine() noexcept {
  base::refuse_after_fork();
  thread_local thread_waiter w;
  return w;
}

void thread_waiter::park(std::int64_t deadline_ns) noexcept {
  if (!publish_parked()) return;
  parked.fetch_add(1, std::memory_order_seq_cst);
  for (;;) {
    const auto w = word();
    if (code_of(w) != claim_code::open) break;
    if (os::futex_wait(low_half_of(word_address()), low_half(w), deadline_ns)) continue;
    claim(claim_code::timed_out);
  }
  parked.fetch_sub(1, std::memory_order_seq_cst);
}

void thread_waiter::resume() noexcept {
  base::refuse_after_fork();
  os::futex_wake(low_half_of(word_address()), 1);
}

int thread_waiter::parked_threads() noexcept { return parked.load(std::memory_order_seq_cst); }

}  // namespace thrum::sched
