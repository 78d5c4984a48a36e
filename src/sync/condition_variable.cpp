// The condition variable: a queue; waiting enqueues before the mutex is released, so no notification is missed.
#include <thrum/condition_variable.hpp>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace {

constexpr sched::wait_kind awaited_notification{"a condition variable"};

void require_lock(const std::unique_lock<mutex>& hold) noexcept {
  if (!hold.owns_lock()) base::panic("condition_variable: wait without holding the mutex");
}

}  // namespace

condition_variable::~condition_variable() {
  std::lock_guard held(queue_.lock);  // A notifier may still hold it.
  if (!queue_.waiters.empty()) base::panic("a condition_variable is destroyed while somebody waits");
}

bool condition_variable::wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns) {
  require_lock(hold);
  sched::claim_code code;
  {
    sched::waiting w(sched::cancellation::point);
    sched::wait_node node(w);
    {
      std::lock_guard held(queue_.lock);
      w.open();
      push_back(queue_.waiters, node);
    }
    hold.unlock();
    code = w.park(deadline_ns, {&awaited_notification, this});
    if (code != sched::claim_code::first_clause) withdraw(queue_, node);
  }
  hold.lock();
  if (code == sched::claim_code::cancelled) throw cancelled{};
  return code == sched::claim_code::first_clause;
}

bool condition_variable::begin_wait(std::unique_lock<mutex>& hold, detail::async_wait& w, detail::async_timer* timer,
                                    std::int64_t deadline_ns) {
  require_lock(hold);
  auto& self = sched::begin_task_call(sched::cancellation::point);
  {
    std::lock_guard held(queue_.lock);
    enqueue(self, w, queue_, sched::cancellation::point);
  }
  hold.unlock();
  park_task(self, {&awaited_notification, this}, deadline_ns, timer);
  return false;
}

void condition_variable::notify_one() noexcept {
  sched::claimed_waiter next;
  {
    std::lock_guard held(queue_.lock);
    next = sched::claim_front(queue_.waiters);
  }
  finish_wake(next);
}

void condition_variable::notify_all() noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    sched::claim_all(queue_.waiters, batch);
  }
  sched::make_runnable(batch);
}

}  // namespace thrum
