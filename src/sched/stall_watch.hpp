// The book of stalls (thrum/stall.hpp): the monitor's notes about threads that have kept a fiber for too long.
//
// A note is opened when a processor has dispatched nothing for two looks, however little work waits for it, and is kept
// up to the limit in silence. It belongs to the worker's thread rather than to the processor, which may be handed over
// meanwhile, and hangs on the worker. There are two ways for it to end, told apart by an exchange of the worker's
// pointer:
//
//   the worker kept its processor, which has dispatched something or sleeps      the monitor sees it at its next look
//   it lost the processor: the fiber has suspended, the thread joins the spares  the worker writes the time into the
//   note
//
// Race: opening a note and losing the processor.
//
//   monitor (open)                                  worker (passes its processor on, suspends)
//   1. worker.stalled: null -> note, exchange       1. processor.owner = another
//   2. reads owner and tick; changed: takes back    2. worker.stalled -> null, exchange
//
// If 2 of the worker came before 1 of the monitor, that exchange has acquired it, and the monitor sees the new owner.
// If it came after, it finds the note.
//
// Only the monitor makes, changes and frees notes; it changes what is read by others under the lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <thrum/detail/spinlock.hpp>
#include <thrum/stall.hpp>

#include "sched/stack_sampler.hpp"

namespace thrum::sched {

class processor;
class scheduler;
class worker;
struct activity;

struct stall_note;

class stall_watch {
 public:
  static constexpr std::size_t kept_max = 256;

  explicit stall_watch(const stall_log& how);  // Throws as stack_sampler does.
  ~stall_watch();                              // The workers have ended.
  stall_watch(const stall_watch&) = delete;
  stall_watch& operator=(const stall_watch&) = delete;

  bool on() const noexcept { return limit_ns_ > 0; }

  // --- The monitor, or who ends it.
  void open(processor& p, worker& w, std::int64_t now) noexcept;  // It has dispatched nothing since p.seen_since.
  void look(scheduler& home, std::int64_t now) noexcept;
  bool any_open() const noexcept { return open_count_.load(std::memory_order_relaxed) > 0; }  // Anyone.

  // --- The worker's thread, without a processor: its fiber has suspended.
  static void end(worker& w) noexcept;

  // --- Anyone.
  // What has ended since the last call, and what lasts. Throws std::bad_alloc.
  std::vector<stall_record> take() { return collect(true); }
  std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  void report_open() noexcept;

  stack_sampler* sampler() const noexcept { return sampler_.get(); }

 private:
  enum class progress { lasts, over };
  progress look_at(scheduler& home, stall_note& n, std::int64_t now) noexcept;
  void measure(stall_note& n, std::int64_t now) noexcept;
  void judge(stall_note& n) noexcept;
  bool has_stack(stall_note& n) noexcept;
  bool reaches_limit(stall_note& n) noexcept;
  void finish(stall_note& n, std::int64_t ended) noexcept;
  void keep(const stall_record& r) noexcept;
  std::vector<stall_record> collect(bool ended);
  void tell(const stall_record& r) noexcept;

  // Constant after construction.
  const std::int64_t limit_ns_;
  const std::function<void(const stall_record&)> sink_;
  std::unique_ptr<stack_sampler> sampler_;

  // The monitor's; the list and the records in it are changed under lock_.
  stall_note* open_ = nullptr;

  // Guarded by lock_.
  detail::spinlock lock_;
  std::unique_ptr<stall_record[]> kept_;  // A ring.
  std::size_t first_kept_ = 0, kept_count_ = 0;

  std::atomic<std::size_t> open_count_{0};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace thrum::sched
