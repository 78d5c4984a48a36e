// The monitor: a thread that notices stuck workers and hands their processors to others.
//
// It looks every millisecond while somebody runs, more rarely while all sleep and have slept since the last look, and
// after a tenth of a second without activity it sleeps on a futex until a worker wakes up. A worker is stuck when its
// processor has dispatched nothing since the last look although work waits for it. Then the thread itself is looked at:
// one that uses CPU time is computing and loses its processor after 10 ms, one that is blocked in the kernel after 1 ms
// (and gives away the next that it gets, see worker::do_without_processor), one that is merely descheduled keeps it.
// Computing fibers come in herds, and each that has lost its processor goes on sharing the cores with the next: within
// a tenth of a second of one such loss, and for fibers that have done so before, 2 ms are enough.
//
// A look takes a core away from who runs there (docs/measurements-io.md). So where the last looks have found all
// dispatching and nobody's timers neglected, it looks every 4 ms, until that changes. Go's sysmon looks ever more
// rarely, too.
//
// It keeps the book of stalls (stall_watch.hpp), and warns when fibers hold most of the threads that there may be. It
// also gives memory back, proves deadlocks and writes dumps (diagnose.hpp).
#pragma once

#include <cstdint>

#include <pthread.h>

#include <thrum/detail/atomic.hpp>

#include "sched/stall_watch.hpp"

namespace thrum::sched {

class scheduler;
class processor;
class worker;

// How soon the monitor acts, in nanoseconds. Tests make it hurry, so that hand-offs happen all the time.
struct monitor_pace {
  std::int64_t look_ns = 1'000'000;             // Between two looks while somebody runs,
  std::int64_t look_calm_ns = 4'000'000;        // while all that run have dispatched for some looks.
  std::int64_t look_idle_ns = 10'000'000;       // While all are asleep, until it sleeps as well.
  std::int64_t computing_ns = 10'000'000;       // A fiber may use the CPU for so long without switching,
  std::int64_t computing_again_ns = 2'000'000;  // one that has lost a processor before, or in a herd, for so long,
  std::int64_t herd_ns = 100'000'000;           // (a herd: another has lost its processor no longer ago than this)
  std::int64_t blocked_ns = 900'000;            // and sit in the kernel for so long.
};

class monitor {
 public:
  monitor(scheduler& home, const monitor_pace& pace, const stall_log& stalls)
      : home_(home), pace_(pace), stalls_(stalls) {}

  void start();  // Throws std::system_error when the thread cannot be created.
  void stop() noexcept;

  // A worker has left the idle set.
  void note_activity() noexcept {
    if (asleep_.load(std::memory_order_seq_cst)) [[unlikely]]
      wake();
  }

  void wake() noexcept;
  void request_dump() noexcept;  // Async-signal-safe.
  std::uint64_t handoffs() const noexcept { return handoffs_.load(std::memory_order_relaxed); }
  stall_watch& stalls() noexcept { return stalls_; }
  std::int64_t blocked_ns() const noexcept { return pace_.blocked_ns; }
  void count_handoff() noexcept { handoffs_.fetch_add(1, std::memory_order_relaxed); }

 private:
  static void* thread_main(void* self);
  void run() noexcept;
  bool look() noexcept;  // False when all processors are idle, and were at the last look.
  bool has_moved(processor& p, std::int64_t now) noexcept;
  bool is_served(processor& p, std::int64_t now) noexcept;
  void look_at_stuck(processor& p, worker& w, std::int64_t now) noexcept;
  bool work_waits(processor& p) const noexcept;
  std::int64_t limit_for(processor& p, worker& w, std::int64_t now) noexcept;
  void relieve(processor& p, worker& w) noexcept;
  void warn_of_cap() noexcept;
  void report_cap() noexcept;
  void look_when_idle() noexcept;
  void pause(std::int64_t ns) noexcept;
  void sleep_until_activity() noexcept;
  void sleep(std::uint32_t seen) noexcept;

  scheduler& home_;
  const monitor_pace pace_;
  stall_watch stalls_;
  pthread_t thread_{};
  bool started_ = false;
  detail::atomic<std::uint32_t> signal_{0};  // Futex: bumped by wake().
  detail::atomic<bool> asleep_{false};
  detail::atomic<bool> stop_{false};
  detail::atomic<bool> dump_{false};
  detail::atomic<std::uint64_t> handoffs_{0};

  // The monitor thread's.
  unsigned calm_looks_ = 0;                      // Since the last that found something to watch.
  std::int64_t computing_seen_ = INT64_MIN / 2;  // When a computing fiber last lost its processor.
  bool watch_for_deadlock_ = false;              // Asleep, it looks again from time to time.
  bool cap_reported_ = false;
  bool crowd_reported_ = false;
};

}  // namespace thrum::sched
