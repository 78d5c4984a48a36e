// The processor: the right to run fibers on one core, and all that goes with it.
//
// Held by one worker at a time. When the worker is stuck the monitor gives the processor, as it is, to another worker
// (worker.hpp), so nothing that belongs to it is ever kept in a worker.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <thrum/detail/atomic.hpp>

#include "context/stack_pool.hpp"
#include "sched/block_pool.hpp"
#include "sched/fiber_control.hpp"
#include "sched/frame_pool.hpp"
#include "sched/run_queue.hpp"
#include "sched/seams.hpp"
#include "sched/task_control.hpp"
#include "sched/timers.hpp"

namespace thrum::sched {

class worker;
class scheduler;

class alignas(64) processor {
 public:
  // When nobody has looked at its timers and poller for so long, others serve them.
  static constexpr std::int64_t neglected_after_ns = 1'000'000;

  processor(scheduler& home, unsigned index, bool shared, seams& s)
      : home(home),
        index(index),
        shared(shared),
        policy(s.policy()),
        queue(shared),
        fresh(shared),
        poll(s.make_poller()),
        random(s.make_random(index)) {
    if (policy && random) timers.break_ties_by(*random);  // Without a policy the order is the cheapest one.
  }

  // Owner, or the monitor in its stead: see hand_off::visit(). Puts f in the LIFO slot; returns the fiber that was
  // there, which belongs in the queue now.
  activity* swap_lifo(activity* f) noexcept {
    auto* before = lifo.load(std::memory_order_relaxed);
    lifo.store(f, std::memory_order_relaxed);
    return before;
  }
  activity* take_lifo() noexcept {
    if (!lifo.load(std::memory_order_relaxed)) return nullptr;
    return swap_lifo(nullptr);
  }

  // Owner. The next of its own fibers to run: the LIFO slot, for so many turns in a row; then those that have started,
  // in order; then those that have not, the newest first.
  //
  // So a tree of fibers is walked depth first, and few of its branches are alive at a time. In the order of their birth
  // it would be walked breadth first, and all its leaves be created before the first one runs. Thieves take the oldest
  // half, and with it the largest branches. The idea is that of work stealing (Blumofe and Leiserson, 1999). Nobody
  // starves: every so often a fiber starts though others that have started wait, and the oldest is the one to start.
  //
  // A pick policy is asked by the worker's loop instead, to which every dispatch goes then: see looked().
  static constexpr unsigned lifo_turns_max = 32;
  static constexpr unsigned turns_before_a_start = 2;
  static constexpr unsigned starts_before_the_oldest = 256;
  [[gnu::always_inline]] activity* pick_in_order() noexcept {
    if (lifo.load(std::memory_order_relaxed) && lifo_streak < lifo_turns_max) {
      ++lifo_streak;
      if (auto* f = swap_lifo(nullptr)) return f;
    }
    lifo_streak = 0;
    if (fresh_at_most > 0) [[unlikely]]
      return pick_beside_fresh();
    if (auto* f = queue.pop()) return f;
    return take_lifo();
  }
  // Owner. May the next fiber be chosen past what is queued? As often in a row as the LIFO slot, and counted with it.
  bool may_switch_directly() noexcept { return lifo_streak < lifo_turns_max && ++lifo_streak != 0; }

  // Owner. Queues a fiber that has not started. False when there is no room.
  bool push_fresh(activity* f) noexcept {
    if (!fresh.push(f)) return false;
    ++fresh_at_most;
    return true;
  }
  std::uint32_t queued() const noexcept { return queue.size() + fresh.size(); }

  // Owner. Counts that a fiber is dispatched, or stays although it offered to give way. True when it is time to look at
  // the global queue, the timers and the poller, even if there are fibers here.
  bool count_dispatch() noexcept {
    const auto now = tick.load(std::memory_order_relaxed) + 1;
    tick.store(now, std::memory_order_relaxed);
    return now >= look_at.load(std::memory_order_relaxed);
  }
  static constexpr unsigned dispatches_per_look = 64;
  bool look_is_due() const noexcept {
    return tick.load(std::memory_order_relaxed) >= look_at.load(std::memory_order_relaxed);
  }
  void looked() noexcept {
    const auto next = tick.load(std::memory_order_relaxed) + dispatches_per_look;
    look_at.store(policy ? 0 : next, std::memory_order_relaxed);
  }
  // The monitor: its fibers run so long between switches that timers and poller have not been looked at for too long.
  void request_look() noexcept { look_at.store(0, std::memory_order_relaxed); }

  // Fibers created here that have not ended; wrong by as many as have ended elsewhere.
  std::int64_t live_here() const noexcept {
    return static_cast<std::int64_t>(created.load(std::memory_order_relaxed) - ended.load(std::memory_order_relaxed));
  }

  bool has_runnable() const noexcept { return lifo.load(std::memory_order_relaxed) || queued() > 0; }

  activity* pick_beside_fresh() noexcept {
    if (turns_without_start < turns_before_a_start) {
      if (auto* f = queue.pop()) {
        ++turns_without_start;
        return f;
      }
    }
    turns_without_start = 0;
    if (auto* f = ++starts % starts_before_the_oldest == 0 ? fresh.pop() : fresh.pop_newest()) {
      --fresh_at_most;
      return f;
    }
    fresh_at_most = 0;  // Others have taken them.
    if (auto* f = queue.pop()) return f;
    return take_lifo();
  }

  // --- Constant after construction.
  scheduler& home;
  const unsigned index;
  const bool shared;          // There are other processors.
  pick_policy* const policy;  // Null: the default.

  // --- Own synchronisation.
  run_queue queue;  // Runnable fibers that have started,
  run_queue fresh;  // and that have not.
  detail::atomic<activity*> lifo{nullptr};
  timer_set timers;
  const std::shared_ptr<poller> poll;        // Shared with the watches of its descriptors, which may outlive it.
  detail::spinlock polling;                  // wait() is for one thread at a time.
  detail::atomic<worker*> owner{nullptr};    // Changed by the hand-off protocol alone.
  std::atomic<std::uint64_t> tick{0};        // Counts dispatched fibers; the owner writes, the monitor reads.
  std::atomic<std::uint64_t> look_at{0};     // The tick at which a look is due.
  std::atomic<std::int64_t> served_at{0};    // When timers and poller were last looked at.
  detail::atomic<std::uint64_t> created{0};  // Fibers created and ended here; the owner writes.
  detail::atomic<std::uint64_t> ended{0};

  // --- The owner's, inside the runtime.
  static constexpr std::size_t stack_cache_max = 64;
  const std::unique_ptr<random_source> random;
  unsigned lifo_streak = 0;
  unsigned fresh_at_most = 0;  // No fewer than `fresh` holds.
  unsigned turns_without_start = 0;
  unsigned starts = 0;
  bool crowded = false;  // So many fibers that each has left the cache before its next turn.
  std::uint64_t slice_tick = 0;
  std::int64_t slice_start = 0;
  context::stack_ref stacks[stack_cache_max];
  std::size_t stack_count = 0;
  block_cache<fiber_control> free_fibers;
  frame_cache frames;
  block_cache<task_control> free_tasks;

  // --- The monitor's.
  std::uint64_t seen_tick = 0;
  std::int64_t seen_since = 0;
  std::int64_t seen_cpu_ns = 0;
  worker* seen_owner = nullptr;
};

}  // namespace thrum::sched
