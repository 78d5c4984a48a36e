// Parking plain threads, and the pool of their waiters.
#include "sched/thread_waiter.hpp"

#include <bit>
#include <mutex>
#include <utility>

#include <thrum/detail/spinlock.hpp>

#include "base/fork.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"

namespace thrum::sched {
namespace {

std::atomic<int> parked{0};
std::atomic<int> inert_count{0};
thread_local int inert = 0;  // Of plain threads, which do not migrate.

// The futex is the word's low half: its first four bytes on the little-endian machines that we run on.
static_assert(std::endian::native == std::endian::little);
const std::atomic<std::uint32_t>& low_half_of(const std::atomic<std::uint64_t>& word) noexcept {
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(word);
}

detail::spinlock free_waiters_lock;
thread_waiter* free_waiters = nullptr;  // Guarded by free_waiters_lock.

}  // namespace

// The calling thread's waiter, from its first use to the thread's end.
struct thread_waiter::lease {
  ~lease() {
    std::lock_guard held(free_waiters_lock);
    waiter->next_free_ = free_waiters;
    free_waiters = std::exchange(waiter, nullptr);
  }
  static thread_local thread_waiter* waiter;
};
thread_local thread_waiter* thread_waiter::lease::waiter = nullptr;

thread_waiter& thread_waiter::take() noexcept {
  thread_waiter* w;
  {
    std::lock_guard held(free_waiters_lock);
    w = free_waiters;
    if (w) free_waiters = w->next_free_;
  }
  if (!w) w = new thread_waiter;
  w->tid_.store(os::thread_id(), std::memory_order_relaxed);
  return *w;
}

thread_waiter& thread_waiter::mine() noexcept {
  base::refuse_after_fork();
  if (!lease::waiter) [[unlikely]] {
    lease::waiter = &take();
    // A destructor of a thread_local that runs after this one's gets a waiter that is not given back.
    static thread_local lease until_the_thread_ends;
    (void)&until_the_thread_ends;
  }
  return *lease::waiter;
}

void thread_waiter::park(std::int64_t deadline_ns) noexcept {
  if (!publish_parked()) return;
  // A thread that will wake by itself proves nothing, and an inert one is counted as such.
  const int counted = deadline_ns == os::no_deadline && !inert ? 1 : 0;
  parked.fetch_add(counted, std::memory_order_seq_cst);
  for (;;) {
    const auto w = word();
    if (code_of(w) != claim_code::open) break;
    if (os::futex_wait(low_half_of(word_address()), low_half(w), deadline_ns)) continue;
    claim(claim_code::timed_out);
  }
  parked.fetch_sub(counted, std::memory_order_seq_cst);
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
int thread_waiter::parked_threads() noexcept { return parked.load(std::memory_order_seq_cst); }

}  // namespace thrum::sched
