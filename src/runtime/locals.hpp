// What hangs on a fiber, or on a plain thread, for fiber_local and context_value.
#pragma once

#include "sched/fiber_control.hpp"
#include "sched/worker.hpp"

namespace thrum::detail {

class guest;

// The slot of a thread that runs no fiber.
sched::activity_locals*& slot_of_thread() noexcept;

// The calling fiber's or thread's; null when it has none.
inline const sched::activity_locals* my_locals() noexcept {
  const auto* f = sched::current_activity();
  return f ? f->locals : slot_of_thread();
}

// A fiber that is being created sees the bindings that its creator sees, and belongs to the same guest (guest.hpp), if
// both have the same home. Throws std::bad_alloc, and what guest::admit() throws.
void inherit_locals(const sched::activity_locals& creator, sched::activity& a);

// The guest that a fiber or task belongs to, or null; to be asked by its worker.
guest* guest_of(const sched::activity& a) noexcept;
// What the caller starts belongs to this one from now on. Returns the one before. Throws std::bad_alloc.
guest* set_my_guest(guest* g);

// Writes the labels among the bindings into a report (label.cpp).
struct context_node;
void report_labels(const context_node* innermost) noexcept;

}  // namespace thrum::detail
