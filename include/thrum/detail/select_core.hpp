// The clauses of a select, as the library sees them.
#pragma once

#include <cstddef>
#include <cstdint>

#include <thrum/detail/async.hpp>
#include <thrum/detail/channel_core.hpp>

namespace thrum::sched {
struct activity;
}

namespace thrum::detail {

enum class clause_kind : std::uint8_t { receive, send, timer, condition, end, cancelled, otherwise };

struct select_clause {
  clause_kind kind;
  channel_core* channel = nullptr;  // Null: never chosen.
  void* element = nullptr;          // What to send, or storage for what is received. Of a condition: its object.
  std::int64_t deadline_ns = 0;     // Of a timer.

  // A condition is tested under the lock of the queue whose waiters are claimed when it comes to hold.
  wait_queue* queue = nullptr;
  bool (*holds)(const void* object) noexcept = nullptr;

  sched::activity* ended = nullptr;  // Whose end it is.
};

struct select_result {
  std::size_t index;
  channel_result result;  // done or closed.
};

// Where a select does its work: the caller's memory. `order` has room for 2 * count indices, `nodes` for count
// wait_nodes.
struct select_room {
  select_clause* clauses;
  std::uint16_t* order;
  void* nodes;
  std::size_t count;
};

// Waits for one clause. Throws cancelled, unless that is a clause; std::length_error when there are too many.
select_result run_select(const select_room& room);

// The same for a task.
struct select_wait {
  select_room room;
  select_result result{};
  std::size_t queued = 0;
  bool waiting = false;
};
bool begin_select(select_wait& w, async_timer& timer);
select_result end_select(select_wait& w, async_timer& timer);

// The room of so many clauses.
template <std::size_t N>
struct select_arrays {
  select_clause clauses[N];
  std::uint16_t order[2 * N];
  alignas(8) std::byte nodes[N * sizeof(async_wait::node)];

  select_room room() noexcept { return {clauses, order, nodes, N}; }
};

}  // namespace thrum::detail
