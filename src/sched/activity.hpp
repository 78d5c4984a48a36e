// What a fiber and a task have in common: everything that the scheduler queues, cancels, joins and dumps.
//
// Lives in a slab that is never returned while the runtime lives (block_pool.hpp), so a late waker, canceller or dump
// reads valid memory: at worst it meets the block's next tenant, which every protocol here tolerates by numbering
// (waiter::claim_episode) or by taking the list's lock first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <source_location>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/cancel_node.hpp>
#include <thrum/detail/object_lock.hpp>

#include "sched/waiter.hpp"

namespace thrum::sched {

class scheduler;

// What a parked waiter waits for, for dumps and for the proof of deadlocks (wait_graph.hpp). The kinds are constants of
// the primitives.
struct wait_kind {
  const char* what;
  // Names the one without whom the wait does not end, but for a deadline or cancellation; or null.
  const waiter* (*holder)(const void* object) noexcept = nullptr;
  bool external = false;  // May be ended from outside the process: a descriptor. Never part of a deadlock.
  bool is_lock = false;   // The holder has it until it unlocks, even if it ends.
  bool hopeless = false;  // Nobody can end it, but for a deadline or cancellation.
  // The same as `holder` for several, each of whom is needed: those who own the nodes below this one.
  detail::cancel_node* (*needed)(const void* object) noexcept = nullptr;
  // What is waited for is there, so that `who` could go on if it were told: then says so, "which …", to follow the
  // object; null otherwise. Asked by a simulation when nobody runs, outside of the runtime (sim/lost_wake_ups.hpp).
  const char* (*could_go_on)(const void* object, const waiter& who) noexcept = nullptr;
  bool told_by_program = false;  // It is the program that has to tell, and it may do so later.
  bool is_hint = false;          // What could_go_on says may rightly be so for long, as long as others go on.
  // What reports show instead of the object, where that lies with the waiter; asked while it is parked.
  const void* (*shown)(const void* object) noexcept = nullptr;
  static const void* nothing(const void*) noexcept { return nullptr; }
};
// Passed by value: in registers. One that is made in memory, field by field, and copied whole soon after makes the
// processor wait for its own stores.
struct wait_reason {
  const wait_kind* kind;
  const void* object = nullptr;

  const void* shown() const noexcept { return kind->shown ? kind->shown(object) : object; }
};
inline constexpr wait_kind waits_for_nothing{"nothing"};

enum class activity_phase : std::uint8_t {
  free,
  fresh,
  started,
  blocker,  // Started, and has lost its processor because it sat in the kernel; see worker::do_without_processor().
  done
};

// What hangs on a fiber or task beyond what the scheduler knows: the values of fiber_local and context_value
// (runtime/locals.hpp).
struct activity_locals {
  void (*end)(activity_locals*& slot) noexcept;            // Destroys it and clears the slot. Runs user code.
  void (*describe)(const activity_locals& slot) noexcept;  // Writes its labels into a report.
};

struct activity : waiter {
  // A fiber's first cache line and third are all that waking and switching touch: with many fibers both are cold.

  // --- Written by whoever runs it; read by dumps.
  std::atomic<bool> hogged{false};  // Once lost its processor: looked at earlier next time.
  detail::atomic<activity_phase> phase{activity_phase::free};
  detail::atomic<bool> cancel_pending{false};  // Mirrors "active is cancelled"; read at every call that may wait.

  // --- A fiber's errno, saved and restored at switches.
  int error_number = 0;

  // --- Links it into one run queue, free list or batch at a time.
  activity* next = nullptr;

  scheduler* home = nullptr;               // Constant once it was created for the first time.
  wait_reason reason{&waits_for_nothing};  // Valid while parked.

  // --- Constant while it lives; read by dumps while a block changes its tenant.
  std::atomic<std::uint64_t> id{0};
  std::atomic<std::source_location> where{};

  // --- Cancellation. `active` is the innermost scope; written by the owner under cancel_lock, read by cancellers.
  detail::cancel_node own_scope;
  detail::cancel_node* active = &own_scope;
  detail::object_lock cancel_lock;

  // --- Its end; see fiber_end.cpp. The block belongs to the activity until `joiner` says ended(), then to its handle;
  // if nobody will join it, it is freed at the end.
  std::uint32_t joiner_episode = 0;         // Published by `joiner`.
  detail::atomic<waiter*> joiner{nullptr};  // Who waits for the end: one at most, since a handle has one owner.

  activity_locals* locals = nullptr;  // Its own, or its creator's before it has started; null in a free block.

  // Marks that stand in `joiner` beside real waiters.
  static waiter* ended() noexcept { return reinterpret_cast<waiter*>(1); }
  static waiter* ending() noexcept { return reinterpret_cast<waiter*>(2); }  // For a moment: it leaves its stack.
  static waiter* nobody_will_join() noexcept { return reinterpret_cast<waiter*>(3); }
  static waiter* dropped() noexcept { return reinterpret_cast<waiter*>(4); }  // The same, nor ask how it ended.
  static bool is_waiter(const waiter* j) noexcept { return reinterpret_cast<std::uintptr_t>(j) > 4; }

  // Once its context is saved. True: it is parked, and may be running elsewhere already; its control block stays
  // readable. False: it has been claimed before, or is to be cancelled, and the caller makes it runnable.
  [[gnu::always_inline]] bool stays_parked(bool timed) noexcept {
    const auto episode = word();
    if (!publish_parked(timed)) [[unlikely]]
      return false;
    // The seq_cst read pairs with poke() in cancel.cpp: either that sees the parked activity or we see that it is to be
    // cancelled.
    if (cancel_pending.load(std::memory_order_seq_cst)) [[unlikely]]
      return !cancel_parked(episode);
    return true;
  }

  bool is_fiber() const noexcept { return kind() == waiter_kind::fiber; }
  bool alive() const noexcept {
    const auto now = phase.load(std::memory_order_acquire);
    return now != activity_phase::free && now != activity_phase::done;
  }

 protected:
  explicit activity(waiter_kind kind) noexcept : waiter(kind) { own_scope.owner = this; }

 private:
  [[gnu::noinline]] bool cancel_parked(std::uint64_t episode) noexcept {
    return claim_cancellable(episode) == claim_result::resume;
  }
};

}  // namespace thrum::sched
