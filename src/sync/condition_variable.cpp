// The condition variable: a queue; waiting enqueues before the mutex is released, so no notification is missed.
#include <thrum/condition_variable.hpp>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace {

void require_lock(const std::unique_lock<mutex>& hold) noexcept {
  if (!hold.owns_lock()) base::panic("condition_variable: wait without holding the mutex");
}

}  // namespace

// By a simulation, on the thread that runs it.
bool detail::shown_predicate::holds() const noexcept {
  try {
    return ask_(done_, lock_);
  } catch (...) {
    return false;
  }
}

// A waiter's node keeps its predicate, if that is shown.
struct condition_variable::waited_for {
  static void* as_slot(const detail::shown_predicate* shown) noexcept {
    return const_cast<detail::shown_predicate*>(shown);
  }
  static const char* could_go_on(const void* variable, const sched::waiter& who) noexcept {
    auto& v = *static_cast<condition_variable*>(const_cast<void*>(variable));
    const detail::shown_predicate* shown = nullptr;
    {
      std::lock_guard held(v.queue_.lock);
      if (const auto* n = node_of(v.queue_.waiters, who)) shown = static_cast<const detail::shown_predicate*>(n->slot);
    }
    return shown && shown->holds() ? "although the predicate holds" : nullptr;
  }
  static constexpr sched::wait_kind kind{
      .what = "a condition variable", .could_go_on = &could_go_on, .told_by_program = true};
};

condition_variable::~condition_variable() {
  std::lock_guard held(queue_.lock);  // A notifier may still hold it.
  if (!queue_.waiters.empty()) base::panic("a condition_variable is destroyed while somebody waits");
}

bool condition_variable::wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                                       const detail::shown_predicate* shown) {
  require_lock(hold);
  sched::claim_code code;
  {
    sched::waiting w(sched::cancellation::point);
    sched::wait_node node(w, waited_for::as_slot(shown));
    {
      std::lock_guard held(queue_.lock);
      w.open();
      push_back(queue_.waiters, node);
    }
    hold.unlock();
    code = w.park(deadline_ns, {&waited_for::kind, this});
    if (code != sched::claim_code::first_clause) withdraw(queue_, node);
  }
  hold.lock();
  sched::throw_if_cancelled(code);
  return code == sched::claim_code::first_clause;
}

bool condition_variable::begin_wait(std::unique_lock<mutex>& hold, detail::async_wait& w, detail::async_timer* timer,
                                    std::int64_t deadline_ns, const detail::shown_predicate* shown) {
  require_lock(hold);
  auto& self = sched::begin_task_call(sched::cancellation::point);
  {
    std::lock_guard held(queue_.lock);
    enqueue(self, w, queue_, sched::cancellation::point, waited_for::as_slot(shown));
  }
  hold.unlock();
  park_task(self, {&waited_for::kind, this}, deadline_ns, timer);
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
