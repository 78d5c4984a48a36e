// The mutex.
//
// The word: the owner's address (waiters are 8-aligned) and three bits:
//   has_waiters   the queue is not empty; set under the queue's lock, on a word that shows an owner
//   woken         a waiter has been woken to compete and has not tried yet: unlocking need not wake another
//   starving      a woken waiter lost the competition after a millisecond: the next unlock hands the mutex over
// The bits change only under the queue's lock; the owner changes by compare-and-swap with or without it.
//
// A lost wake-up would need an unlock that misses a queued waiter. But once the waiter has set has_waiters, the
// owner's fast unlock (a compare-and-swap of the bare owner) fails, and it takes the queue's lock behind the waiter,
// unless `woken` is set: then the woken waiter tries under that lock after the unlock, or has the next owner do so.
#include <thrum/mutex.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"
#include "sync/compete.hpp"

namespace thrum {
namespace {

constexpr std::uintptr_t has_waiters = 1, woken = 2, starving = 4;
constexpr std::uintptr_t owner_mask = ~std::uintptr_t{7};

std::uintptr_t identity(const sched::waiter& w) noexcept { return reinterpret_cast<std::uintptr_t>(&w); }

[[noreturn]] void refuse_second_lock() noexcept { base::panic("a mutex is locked by its owner again"); }

const sched::waiter* owner_of(const void* word) noexcept {
  const auto w = static_cast<const detail::atomic<std::uintptr_t>*>(word)->load(std::memory_order_relaxed);
  return reinterpret_cast<const sched::waiter*>(w & owner_mask);
}

const char* free_mutex(const void* word, const sched::waiter&) noexcept {
  return owner_of(word) ? nullptr : "which is free";
}

constexpr sched::wait_kind awaited_mutex{
    .what = "a mutex", .holder = &owner_of, .is_lock = true, .could_go_on = &free_mutex};

}  // namespace

mutex::~mutex() {
  // An unlocker may still be about to release the queue: wait for it, so that the next owner may destroy the mutex.
  std::lock_guard held(queue_.lock);
  if (word_.load(std::memory_order_relaxed) & owner_mask) base::panic("a mutex is destroyed while it is locked");
}

// Takes a free mutex, also past those who wait, unless one of them starves. Acquire pairs with unlock().
bool mutex::take(std::uintptr_t self) noexcept {
  queue_.lock.touch();
  auto w = word_.load(std::memory_order_relaxed);
  while ((w & (owner_mask | starving)) == 0)
    if (word_.compare_exchange_weak(w, self | w, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

bool mutex::try_lock() noexcept { return take(identity(sched::current_waiter())); }

void mutex::lock() {
  const auto self = identity(*sched::begin_call().who);  // Not a cancellation point, but a call that may suspend.
  if (!take(self)) lock_slow(self, sched::never);
}

bool mutex::lock_until_ns(std::int64_t deadline_ns) {
  const auto self = identity(*sched::begin_call().who);
  return take(self) || lock_slow(self, deadline_ns);
}

// The identity comes first: a new thread may be given that of the owner, who unlocks and ends between the two lines.
bool mutex::is_held_by_caller() const noexcept {
  const auto self = identity(sched::current_waiter());
  return (word_.load(std::memory_order_relaxed) & owner_mask) == self;
}

bool mutex::lock_slow(std::uintptr_t self, std::int64_t deadline_ns) {
  if ((word_.load(std::memory_order_relaxed) & owner_mask) == self) refuse_second_lock();
  sched::wait_node node(sched::current_waiter());
  const auto since_ns = sched::now_ns();
  bool was_woken = false;
  do {
    sched::waiting w(sched::cancellation::none);
    node.code = compete;
    {
      std::lock_guard held(queue_.lock);
      if (take_or_announce(self, was_woken, sched::now_ns() - since_ns > starving_after_ns)) return true;
      w.open();
      // Who has waited before keeps its place at the head.
      if (was_woken)
        push_front(queue_.waiters, node);
      else
        push_back(queue_.waiters, node);
    }
    const auto code = w.park(deadline_ns, {&awaited_mutex, &word_});
    if (code == sched::claim_code::timed_out) {
      // What the word says of waiters may be stale now: then the next unlock finds nobody, and corrects it.
      withdraw(queue_, node);
      return false;
    }
    was_woken = code == compete;
  } while (was_woken);
  return true;
}

// A task cannot compete: when it is woken it must have the mutex. See unlock_slow().
bool mutex::begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns) {
  auto& t = sched::begin_task_call(sched::cancellation::none);
  const auto self = identity(t);
  if (take(self)) return sched::go_on();
  if ((word_.load(std::memory_order_relaxed) & owner_mask) == self) refuse_second_lock();
  return sched::begin_wait(
      w, timer, queue_, [&] { return take_or_announce(self, false, false); }, deadline_ns, {&awaited_mutex, &word_},
      sched::cancellation::none);
}

// Under the queue's lock. True: taken. False: the word says that we wait.
bool mutex::take_or_announce(std::uintptr_t self, bool was_woken, bool starved) noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  for (;;) {
    const auto bits = (was_woken ? w & ~woken : w) & ~owner_mask;
    const bool free = (w & owner_mask) == 0 && (was_woken || !(w & starving));
    const auto next =
        free ? self | bits : (w & owner_mask) | bits | has_waiters | (was_woken && starved ? starving : 0);
    if (word_.compare_exchange_weak(w, next, std::memory_order_acquire, std::memory_order_relaxed)) return free;
  }
}

void mutex::unlock() noexcept {
  queue_.lock.touch();
  const auto self = identity(sched::current_waiter());
  auto w = self;
  // Release pairs with the acquire in take().
  while (!word_.compare_exchange_weak(w, w & ~owner_mask, std::memory_order_release, std::memory_order_relaxed)) {
    if ((w & owner_mask) == 0) base::panic("unlock of a mutex that is not locked");
    if ((w & owner_mask) != self) base::panic("unlock of a mutex that another fiber or thread holds");
    if ((w & has_waiters) && (w & (woken | starving)) != woken) return unlock_slow();
  }
}

// The first who still waits is woken to compete or, when it has starved or is a task, as the owner.
void mutex::unlock_slow() noexcept {
  sched::claimed_waiter next;
  {
    std::lock_guard held(queue_.lock);
    const bool starved = word_.load(std::memory_order_relaxed) & starving;
    bool hand_over = false;
    while (sched::wait_node* head = queue_.waiters.first) {
      const bool task = is_task(*head->who);
      hand_over = starved || task;
      if (!task) head->code = hand_over ? handed_over : compete;
      // Before the claim: a new owner may unlock as soon as it is claimed, and does so without the queue's lock.
      if (hand_over) word_.store(identity(*head->who) | (head->next ? has_waiters : 0), std::memory_order_release);
      next = sched::claim_first(queue_.waiters);
      if (next.who) break;
    }
    if (!next.who)
      word_.store(0, std::memory_order_release);
    else if (!hand_over)
      word_.store((queue_.waiters.empty() ? 0 : has_waiters) | woken, std::memory_order_release);
  }
  finish_wake(next);
}

}  // namespace thrum
