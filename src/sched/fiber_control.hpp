// A fiber's control block: everything the runtime knows about it, apart from its stack.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>

#include "context/context.hpp"
#include "context/stack_pool.hpp"
#include "sched/activity.hpp"
#include "sched/fiber_name.hpp"

namespace thrum::sched {

class worker;

// The exception state of the C++ runtime (__cxa_eh_globals): belongs to the fiber.
struct exception_state {
  void* caught = nullptr;
  unsigned int uncaught = 0;

  bool any() const noexcept { return (reinterpret_cast<std::uintptr_t>(caught) | uncaught) != 0; }
};

struct alignas(64) fiber_control : activity {
  static constexpr std::size_t inline_closure_size = 96;
  static constexpr std::size_t storage_align = 16;

  fiber_control() noexcept : activity(waiter_kind::fiber) {}
  ~fiber_control() { context::forget_stack(sanitizer); }

  bool is_pinned() const noexcept { return pinned_to.load(std::memory_order_relaxed) != nullptr; }

  // --- The running fiber's, saved and restored at switches.
  context::context ctx;
  std::atomic<worker*> pinned_to{nullptr};  // Only its thread may run it. Null: any.
  context::stack_ref stack;                 // From its first run to its end.
  exception_state exceptions;

  // --- Set when created, constant while it lives.
  void (*run)(void* closure) = nullptr;
  void* closure = storage;                      // `storage`, or its own allocation when larger.
  std::uint32_t closure_align = storage_align;  // Of a closure outside `storage`.
  std::uint8_t size_class = 0;                  // log2 of the stack size.

  std::exception_ptr failure;  // Published by `joiner` when it says ended().
  fiber_name name;
  [[no_unique_address]] context::sanitizer_state sanitizer;

  alignas(storage_align) std::byte storage[inline_closure_size];
};

}  // namespace thrum::sched
