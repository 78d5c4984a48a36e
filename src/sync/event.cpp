// The event: a flag, and a queue for those who wait for it.
#include <thrum/event.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/wait.hpp"

namespace thrum {

event::~event() {
  // set() may still hold the lock: wait for it, so that a waiter may destroy the event at once.
  std::lock_guard held(queue_.lock);
  if (!queue_.waiters.empty()) base::panic("an event is destroyed while somebody waits");
}

void event::set() noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    set_.store(true, std::memory_order_release);  // Pairs with the acquire in is_set() and wait.
    claim_all(queue_.waiters, batch);
  }
  make_runnable(batch);
}

bool event::wait_until_ns(std::int64_t deadline_ns) {
  sched::waiting w(sched::cancellation::point);
  sched::wait_node node(w);
  {
    std::lock_guard held(queue_.lock);
    if (set_.load(std::memory_order_acquire)) return true;
    w.open();
    push_back(queue_.waiters, node);
  }
  static constexpr sched::wait_kind kind{"an event"};
  const auto code = w.park(deadline_ns, {&kind, this});
  if (code == sched::claim_code::first_clause) return true;
  withdraw(queue_, node);
  w.throw_if_cancelled(code);
  return false;
}

}  // namespace thrum
