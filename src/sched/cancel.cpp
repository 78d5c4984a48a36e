// Marking and waking. Recursion is as deep as scopes are nested.
#include "sched/cancel.hpp"

#include <mutex>

#include "sched/park.hpp"

namespace thrum::sched {
namespace {

using detail::cancel_node;

// The fiber's innermost scope may have been cancelled: update the mirror and wake it where it waits.
void poke(activity& f, runnable_batch& out) noexcept {
  std::lock_guard held(f.cancel_lock);
  if (!f.active || !(f.active->flags.load(std::memory_order_relaxed) & cancel_node::cancelled)) return;
  // seq_cst, before reading the word: pairs with activity::stays_parked(), which parks first and then reads the mirror.
  // With less, both could read the old value and the fiber would sleep through its cancellation.
  f.cancel_pending.store(true, std::memory_order_seq_cst);
  if (f.claim_cancellable(f.word()) == claim_result::resume) out.push(&f);
}

void cancel_locked(cancel_node& node, std::uint32_t flags, runnable_batch& out) noexcept {
  const auto before = node.flags.fetch_or(flags, std::memory_order_acq_rel);
  if (before & cancel_node::cancelled) return;  // Everything below has been told.
  if (node.owner) poke(*node.owner, out);
  for (auto* child = node.first_child; child; child = child->next) {
    if (child->flags.load(std::memory_order_relaxed) & cancel_node::shield) continue;
    std::lock_guard held(child->lock);
    cancel_locked(*child, cancel_node::cancelled, out);
  }
}

}  // namespace

void attach(cancel_node& parent, cancel_node& child) noexcept {
  std::lock_guard held(parent.lock);
  child.parent = &parent;
  child.previous = nullptr;
  child.next = parent.first_child;
  if (child.next) child.next->previous = &child;
  parent.first_child = &child;
  const auto own = child.flags.load(std::memory_order_relaxed);
  const auto inherited = parent.flags.load(std::memory_order_relaxed) & cancel_node::cancelled;
  if (inherited && !(own & cancel_node::shield)) child.flags.store(own | inherited, std::memory_order_relaxed);
}

void detach(cancel_node& child) noexcept {
  if (!child.parent) return;
  std::lock_guard held(child.parent->lock);
  if (child.previous)
    child.previous->next = child.next;
  else
    child.parent->first_child = child.next;
  if (child.next) child.next->previous = child.previous;
  child.parent = nullptr;
}

void set_active(activity& f, cancel_node& innermost) noexcept {
  std::lock_guard held(f.cancel_lock);
  f.active = &innermost;
  const bool pending = innermost.flags.load(std::memory_order_relaxed) & cancel_node::cancelled;
  f.cancel_pending.store(pending, std::memory_order_relaxed);
}

void cancel(cancel_node& node, std::uint32_t flags, runnable_batch& out) noexcept {
  std::lock_guard held(node.lock);
  cancel_locked(node, flags, out);
}

void stop(activity& a) noexcept {
  runnable_batch batch;
  cancel(a.own_scope, cancel_node::cancelled, batch);
  make_runnable(batch);
}

}  // namespace thrum::sched
