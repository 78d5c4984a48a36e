// The part of the wait-queue interface that public types embed: a lock and a list of parked waiters.
// What happens in it is internal (src/sched/wait.hpp).
#pragma once

#include <thrum/detail/glanced.hpp>
#include <thrum/detail/object_lock.hpp>

namespace thrum::sched {
class waiter;
struct wait_node;
}  // namespace thrum::sched

namespace thrum::detail {

// First in, first out; guarded by the lock beside it.
struct wait_list {
  glanced<sched::wait_node*> first = nullptr;
  sched::wait_node* last = nullptr;

  bool empty() const noexcept { return !first; }
};

struct wait_queue {
  object_lock lock;
  wait_list waiters;
};

}  // namespace thrum::detail
