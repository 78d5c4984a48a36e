// The wait-queue interface for tasks: the same steps as in wait.hpp, but the caller returns to its worker between them.
//
//   begin    as a fiber would do up to park(): the task is enqueued and claimable, but not parked
//            … its coroutine is suspended, control returns to the worker's loop, which publishes it as parked …
//   end      what a fiber would do after park()
//
// Whoever claims the task in between finds it not parked; the worker then sees the claim and queues it again.
#pragma once

#include <mutex>

#include <thrum/detail/async.hpp>

#include "sched/wait.hpp"

namespace thrum::sched {

// At the start of an awaited call. Aborts outside of tasks; throws cancelled in a cancelled scope when `c` is point.
task_control& begin_task_call(cancellation c);

// The call is done without waiting. False when the task has to give way nevertheless.
bool go_on() noexcept;
// The task gives way.
void yield_task() noexcept;

// The task is enqueued: it is to be parked. Arms the timer when there is a deadline.
void park_task(task_control& t, wait_reason reason, std::int64_t deadline_ns, detail::async_timer* timer) noexcept;

// After the task has been resumed from a wait: how it was claimed; the timer is disarmed.
claim_code end_parking(detail::async_timer* timer) noexcept;

// Joining: fiber_end.hpp has the steps. Throws cancelled.
bool begin_join(activity& a, detail::async_wait& w);
void end_join(activity& a, const detail::async_wait& w);

using node_room = std::byte[48];
static_assert(sizeof(node_room) >= sizeof(wait_node) && alignof(wait_node) <= 8);
inline wait_node& node_in(node_room& room) noexcept { return *std::launder(reinterpret_cast<wait_node*>(room)); }

// With the queue's lock held.
inline void enqueue(task_control& t, node_room& room, detail::wait_list& list, cancellation c,
                    void* slot = nullptr) noexcept {
  auto& node = *new (room) wait_node(static_cast<waiter&>(t));
  node.slot = slot;
  t.open_episode(c != cancellation::none);
  push_back(list, node);
}
inline void enqueue(task_control& t, detail::async_wait& w, detail::wait_queue& q, cancellation c,
                    void* slot = nullptr) noexcept {
  w.queue = &q;
  w.at = detail::async_wait::state::waiting;
  enqueue(t, w.node, q.waiters, c, slot);
}

// The whole of `begin` for a primitive that has a queue and a condition, which it tests under the queue's lock.
template <class Satisfied>
bool begin_wait(detail::async_wait& w, detail::async_timer* timer, detail::wait_queue& q, Satisfied satisfied,
                std::int64_t deadline_ns, wait_reason reason, cancellation c = cancellation::point,
                void* slot = nullptr) {
  task_control& t = begin_task_call(c);
  {
    std::lock_guard held(q.lock);
    if (!satisfied()) enqueue(t, w, q, c, slot);
  }
  if (w.at == detail::async_wait::state::satisfied) return go_on();
  park_task(t, reason, deadline_ns, timer);
  return false;
}

// What a fiber or thread does for such a primitive: false when the deadline has passed. Throws cancelled.
template <class Satisfied>
THRUM_SWITCHES inline bool wait_until(detail::wait_queue& q, Satisfied satisfied, std::int64_t deadline_ns,
                                      wait_reason reason, cancellation c = cancellation::point, void* slot = nullptr) {
  claim_code code;
  {
    waiting w(c);
    wait_node node(w, slot);
    {
      std::lock_guard held(q.lock);
      if (satisfied()) return true;
      w.open();
      push_back(q.waiters, node);
    }
    code = w.park(deadline_ns, reason);
    if (code == claim_code::first_clause) return true;
    withdraw(q, node);
  }
  if (c == cancellation::point) throw_if_cancelled(code);
  return false;
}

}  // namespace thrum::sched
