// A node of the cancellation tree: one per scope and one per fiber. The algorithms are in src/sched/cancel.cpp.
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/object_lock.hpp>

namespace thrum::sched {
struct activity;
}

namespace thrum::detail {

struct cancel_node {
  enum flag : std::uint32_t { cancelled = 1, expired = 2, shield = 4 };

  // Set by any thread, read by the owner at every waiting call.
  atomic<std::uint32_t> flags{0};
  object_lock lock;  // Guards children and, with the parent's lock, membership in the parent's list.
  cancel_node* parent = nullptr;
  cancel_node* first_child = nullptr;
  cancel_node* previous = nullptr;
  cancel_node* next = nullptr;
  sched::activity* owner = nullptr;  // The fiber that runs inside this scope; constant.
};

}  // namespace thrum::detail
