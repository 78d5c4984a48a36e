// The wait-queue interface: the one way in which anything blocks, for fibers and plain threads alike.
//
// A primitive owns wait_queues (a lock and a list). To wait:
//
//   waiting w(cancellation::point);              // throws cancelled when the scope is already cancelled
//   queue.lock.lock();
//   if (<no need to wait>) { …; queue.lock.unlock(); return; }
//   wait_node node(w);
//   w.open();                                    // from here on wakers may claim us
//   push_back(queue.waiters, node);
//   queue.lock.unlock();
//   switch (w.park(deadline, reason)) { … }      // claimed: by a waker, the deadline or cancellation
//   withdraw(queue, node);                       // unless a waker took the node out
//
// To wake, with the queue's lock held: take nodes from the front, claim each (claim_front), and resume the winner
// after unlocking. Timeouts, cancellation, select, dumps and deadlock proofs are written here once.
#pragma once

#include <cstdint>

#include <thrum/cancelled.hpp>
#include <thrum/detail/wait_queue.hpp>

#include "base/fork.hpp"
#include "os/futex.hpp"
#include "sched/fiber_control.hpp"
#include "sched/park.hpp"
#include "sched/seams.hpp"
#include "sched/switch.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/timers.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class waiting;

// The calling task or, where none runs, the thread.
waiter& task_or_thread_waiter() noexcept;
// The calling fiber, task or thread.
inline waiter& current_waiter() noexcept {
  auto* f = current_fiber();
  return f ? *f : task_or_thread_waiter();
}
// The calling thread. Aborts in a task, which must not block the thread that it is run by.
waiter& thread_that_may_wait() noexcept;

struct wait_node {
  wait_node(waiting& w, void* slot = nullptr, claim_code code = claim_code::first_clause) noexcept;
  explicit wait_node(waiter& w) noexcept : who(&w) {}

  waiter* who;
  claim_code code = claim_code::first_clause;  // How a claim through this node is told to the waiter.
  void* slot = nullptr;                        // The primitive's: where an element goes or comes from.
  bool linked = false;                         // Guarded by the queue's lock, as the links are.
  wait_node* previous;                         // Valid while linked.
  wait_node* next;
};

inline void push_back(detail::wait_list& list, wait_node& n) noexcept {
  n.previous = list.last;
  n.next = nullptr;
  if (list.last)
    list.last->next = &n;
  else
    list.first = &n;
  list.last = &n;
  n.linked = true;
}

inline void push_front(detail::wait_list& list, wait_node& n) noexcept {
  n.next = list.first;
  n.previous = nullptr;
  (list.empty() ? list.last : list.first->previous) = &n;
  list.first = &n;
  n.linked = true;
}

inline void remove(detail::wait_list& list, wait_node& n) noexcept {
  if (n.previous)
    n.previous->next = n.next;
  else
    list.first = n.next;
  (n.next ? n.next->previous : list.last) = n.previous;
  n.linked = false;
}

// With the queue's lock held: the first node of that waiter; null if there is none.
const wait_node* node_of(const detail::wait_list& list, const waiter& who) noexcept;

// Takes the node out if it is still linked; takes the lock.
void withdraw(detail::wait_queue& q, wait_node& n) noexcept;

// With the queue's lock held: removes nodes from the front until one is claimed. Null when there is none. Resume it
// with `finish_wake` after unlocking.
struct claimed_waiter {
  waiter* who = nullptr;     // Null: nobody was waiting.
  waiter* resume = nullptr;  // To be made runnable after unlocking; null when nothing is to be done.
};
claimed_waiter claim_front(detail::wait_list& list) noexcept;
// The same for the first node only, which there must be; `who` is null when it was claimed already.
claimed_waiter claim_first(detail::wait_list& list) noexcept;
[[gnu::always_inline]] inline void finish_wake(const claimed_waiter& c) noexcept {
  if (!c.resume) return;
  worker* w = this_worker();
  if (!w || c.resume->kind() == waiter_kind::thread) [[unlikely]]
    return make_runnable(*c.resume);
  auto& a = *static_cast<activity*>(c.resume);
  w->enter();
  a.home->ready(a, w);
  w->leave();
}

// With the queue's lock held: claims everybody.
void claim_all(detail::wait_list& list, runnable_batch& out) noexcept;

enum class cancellation {
  point,     // Throws cancelled, at once when the scope is cancelled already.
  reported,  // The same, but park() returns claim_code::cancelled and `already_cancelled` is set; nothing throws.
  none,      // Not a cancellation point: locks, shielded waits.
};

// At the start of a call that may suspend: gives way when it is time. Tells who calls, and whether its scope is
// cancelled.
struct begun_call {
  waiter* who;
  bool cancelled;
};
[[gnu::always_inline]] inline begun_call begin_call() noexcept {
  worker* w = this_worker();
  fiber_control* f = w ? w->current() : nullptr;
  if (!f) [[unlikely]]
    return {&thread_that_may_wait(), false};
  worker::begin_suspending_call(*w);
  return {f, f->cancel_pending.load(std::memory_order_acquire)};
}

// At the start of a call that never suspends but fails in a cancelled scope.
inline bool call_is_cancelled() noexcept {
  auto* a = current_activity();
  if (a) return a->cancel_pending.load(std::memory_order_acquire);
  base::refuse_after_fork();
  return false;
}

// After park(), when the `waiting` is gone: each frame is one more step of the exception, and each that has something
// to destroy is one more stop, which costs a fifth of all.
[[gnu::always_inline]] inline void throw_if_cancelled(claim_code code) {
  if (code == claim_code::cancelled) [[unlikely]]
    throw cancelled{};
}

// One episode of waiting of the calling fiber or thread.
class waiting {
 public:
  explicit waiting(cancellation c) : waiting(begin_call(), c) {
    // Level-triggered: a cancelled scope is noticed even by a call that would not have to wait.
    if (already_cancelled_ && c == cancellation::point) [[unlikely]]
      throw cancelled{};
  }
  // For a call that has done begin_call() itself, and now finds that it must wait.
  waiting(const begun_call& call, cancellation c) noexcept
      : self_(call.who), cancellation_(c), already_cancelled_(call.cancelled && c != cancellation::none) {}
  ~waiting() {
    if (episode_ != 0) self_->close_episode();
  }
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;

  waiter& self() const noexcept { return *self_; }
  bool already_cancelled() const noexcept { return already_cancelled_; }

  std::uint64_t open() noexcept { return episode_ = self_->open_episode(cancellation_ != cancellation::none); }

  // Waits to be claimed. `deadline_ns` is in the scheduler's clock. Throws nothing: on cancellation::point the
  // primitive calls throw_if_cancelled() once it has cleaned up.
  THRUM_SWITCHES claim_code park(std::int64_t deadline_ns, wait_reason reason) noexcept {
    if (self_->kind() == waiter_kind::fiber) {
      auto& f = *static_cast<fiber_control*>(self_);
      f.reason = reason;
      if (deadline_ns == never)
        suspend_fiber(after_switch::park);
      else
        park_until(f, deadline_ns, episode_);
    } else {
      park_thread(*self_, deadline_ns, reason);
    }
    episode_ = 0;  // Claimed, so nobody else can claim it: there is nothing to close.
    return self_->code();
  }

 private:
  THRUM_SWITCHES static void suspend_fiber(after_switch how) noexcept {
    worker* w = this_worker();
    w->enter();
    worker::suspend(*w, how).leave();
  }
  // These take what they need, so that the compiler can keep *this in registers.
  static void park_thread(waiter& self, std::int64_t deadline_ns, wait_reason reason) noexcept;
  static void park_until(fiber_control& f, std::int64_t deadline_ns, std::uint64_t episode) noexcept;

  waiter* self_;
  const cancellation cancellation_;
  const bool already_cancelled_;
  std::uint64_t episode_ = 0;
};

// Only the deadline or cancellation ends it.
THRUM_SWITCHES inline void wait_for_time(std::int64_t deadline_ns, wait_reason reason) {
  claim_code code;
  {
    waiting w(cancellation::point);
    w.open();
    code = w.park(deadline_ns, reason);
  }
  throw_if_cancelled(code);
}

inline wait_node::wait_node(waiting& w, void* slot, claim_code code) noexcept
    : who(&w.self()), code(code), slot(slot) {}

// Uniform below `bound`, from the processor's random source.
std::uint32_t random_below(std::uint32_t bound) noexcept;

// The scheduler's clock for fibers, the monotonic clock for threads.
std::int64_t now_ns() noexcept;

}  // namespace thrum::sched
