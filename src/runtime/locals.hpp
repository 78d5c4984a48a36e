// What hangs on a fiber, or on a plain thread, for fiber_local and context_value.
#pragma once

#include "sched/fiber_control.hpp"
#include "sched/worker.hpp"

namespace thrum::detail {

// The slot of a thread that runs no fiber.
sched::activity_locals*& slot_of_thread() noexcept;

// The calling fiber's or thread's; null when it has none.
inline const sched::activity_locals* my_locals() noexcept {
  const auto* f = sched::current_activity();
  return f ? f->locals : slot_of_thread();
}

// A fiber that is being created sees the bindings that its creator sees. Throws std::bad_alloc.
void inherit_context(const sched::activity_locals& creator, sched::activity& f);

}  // namespace thrum::detail
