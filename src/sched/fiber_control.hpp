// A fiber's control block: everything the runtime knows about it, apart from its stack.
//
// Lives in a slab that is never returned while the runtime lives (fiber_pool.hpp), so a late waker, canceller or dump
// reads valid memory: at worst it meets the block's next tenant, which every protocol here tolerates by numbering
// (waiter::claim_episode) or by taking the list's lock first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>

#include <thrum/detail/cancel_node.hpp>
#include <thrum/detail/wait_queue.hpp>

#include "context/context.hpp"
#include "context/stack_pool.hpp"
#include "sched/fiber_name.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

class scheduler;

// What a parked waiter waits for, for dumps. The kinds are constants of the primitives.
struct wait_kind {
  const char* what;
  const waiter* (*holder)(const void* object) noexcept = nullptr;  // Names who could end the wait, or null.
  bool external = false;  // May be ended from outside the process: a descriptor. Never part of a deadlock.
};
struct wait_reason {
  const wait_kind* kind;
  const void* object = nullptr;
};
inline constexpr wait_kind waits_for_nothing{"nothing"};

// The exception state of the C++ runtime (__cxa_eh_globals): belongs to the fiber.
struct exception_state {
  void* caught = nullptr;
  unsigned int uncaught = 0;

  bool any() const noexcept { return (reinterpret_cast<std::uintptr_t>(caught) | uncaught) != 0; }
};

// What hangs on a fiber beyond what the scheduler knows: the values of fiber_local and context_value
// (runtime/locals.hpp).
struct fiber_locals {
  void (*end)(fiber_locals*& slot) noexcept;  // Destroys it and clears the slot. Runs user code.
};

enum class fiber_phase : std::uint8_t { free, fresh, started, done };

struct alignas(64) fiber_control : waiter {
  static constexpr std::size_t inline_closure_size = 96;
  static constexpr std::size_t storage_align = 16;

  fiber_control() noexcept : waiter(waiter_kind::fiber) { own_scope.owner = this; }
  ~fiber_control() { context::forget_stack(sanitizer); }

  // The first two cache lines are all that waking and switching touch: with many fibers both are cold.

  // --- Written by whoever runs it; read by dumps.
  std::atomic<bool> hogged{false};  // Once lost its processor: looked at earlier next time.
  std::atomic<fiber_phase> phase{fiber_phase::free};
  std::uint8_t size_class = 0;  // log2 of the stack size; constant while it lives.

  // --- The running fiber's, saved and restored at switches.
  int error_number = 0;
  context::context ctx;
  exception_state exceptions;

  // --- Links it into one run queue, free list or batch at a time.
  fiber_control* next = nullptr;

  scheduler* home = nullptr;                   // Constant once it was created for the first time.
  context::stack_ref stack;                    // From its first run to its end.
  wait_reason reason{&waits_for_nothing};      // Valid while parked.
  std::atomic<bool> cancel_pending{false};     // Mirrors "active is cancelled"; read at every call that may wait.
  std::atomic<std::int64_t> running_since{0};  // Written by the monitor when it first meets it running.

  // --- Set when created, constant while it lives.
  void (*run)(void* closure) = nullptr;
  void* closure = storage;           // `storage`, or its own allocation when larger.
  std::atomic<std::uint64_t> id{0};  // These two are read by dumps while a block changes its tenant.
  std::atomic<std::source_location> where{};
  std::uint32_t closure_align = storage_align;  // Of a closure outside `storage`.

  fiber_name name;
  [[no_unique_address]] context::sanitizer_state sanitizer;

  // --- Cancellation. `active` is the innermost scope; written by the owner under cancel_lock, read by cancellers.
  detail::cancel_node own_scope;
  detail::spinlock cancel_lock;
  detail::cancel_node* active = &own_scope;

  // --- Its end; see fiber_end.cpp. The block belongs to the fiber until `joiner` says ended(), then to its handle; if
  // nobody will join it the fiber frees it itself.
  std::atomic<waiter*> joiner{nullptr};  // Who waits for the end: one at most, since a handle has one owner.
  std::uint64_t joiner_episode = 0;      // Published by `joiner`.
  std::exception_ptr failure;            // Published by `joiner` when it says ended().

  fiber_locals* locals = nullptr;  // Its own, or its creator's before it has started; null in a free block.

  // Marks that stand in `joiner` beside real waiters.
  static waiter* ended() noexcept { return reinterpret_cast<waiter*>(1); }
  static waiter* ending() noexcept { return reinterpret_cast<waiter*>(2); }  // For a moment: it leaves its stack.
  static waiter* nobody_will_join() noexcept { return reinterpret_cast<waiter*>(3); }
  static bool is_waiter(const waiter* j) noexcept { return reinterpret_cast<std::uintptr_t>(j) > 3; }

  alignas(storage_align) std::byte storage[inline_closure_size];
};

}  // namespace thrum::sched
