// The cancellation tree.
//
// Every fiber has a node, every scope has one below that of the scope or fiber it was opened in, and a scope's fibers
// hang below the scope. Cancelling marks a node and everything below it that is not shielded, and wakes the fibers
// that wait in a marked scope. What a fiber reads at each waiting call is one flag of its own, `cancel_pending`, which
// mirrors its innermost scope and is kept up to date under `cancel_lock`.
//
// Lock order: a node's lock, its children's, then a fiber's cancel_lock.
#pragma once

#include <cstdint>

#include <thrum/detail/cancel_node.hpp>

#include "sched/activity.hpp"
#include "sched/seams.hpp"

namespace thrum::sched {

// Links `child` below `parent`; inherits its cancellation unless `child` is a shield.
void attach(detail::cancel_node& parent, detail::cancel_node& child) noexcept;
void detach(detail::cancel_node& child) noexcept;

// The calling fiber enters or leaves a scope.
void set_active(activity& f, detail::cancel_node& innermost) noexcept;

// Cancels the fiber's or task's own scope, and so all of it. Any thread.
void stop(activity& a) noexcept;

// Marks the node and what is below with `flags`; collects the fibers to be resumed.
void cancel(detail::cancel_node& node, std::uint32_t flags, runnable_batch& out) noexcept;

}  // namespace thrum::sched
