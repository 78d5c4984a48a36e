// What the scheduler receives from outside: clock, random source, pick policy, poller. The defaults are the real ones;
// a simulation passes its own. Nothing in the scheduler asks which it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace thrum::sched {

struct activity;
class processor;
class fd_watch;

inline constexpr std::int64_t never = INT64_MAX;

class clock_source {
 public:
  virtual ~clock_source() = default;
  // Nanoseconds of the clock in which deadlines are given; std::chrono::steady_clock's in the real one.
  virtual std::int64_t now_ns() noexcept = 0;
};

class random_source {
 public:
  virtual ~random_source() = default;
  virtual std::uint64_t next() noexcept = 0;  // Called by one worker at a time per processor.
};

class pick_policy {
 public:
  virtual ~pick_policy() = default;
  // The next runnable fiber of this processor's own queues, or null to let the worker look at the global queue, the
  // timers, the poller and the other processors.
  virtual activity* pick(processor& p) noexcept = 0;
};

// A linked list of fibers and tasks that have become runnable together.
struct runnable_batch {
  activity* first = nullptr;
  activity* last = nullptr;
  std::size_t count = 0;

  void push(activity* f) noexcept;
  void append(const runnable_batch& more) noexcept;
  bool empty() const noexcept { return first == nullptr; }
};

// Tells about descriptors. One per processor. wait() is called by one thread at a time; watch(), forget() and wake()
// by any thread.
class poller {
 public:
  virtual ~poller() = default;

  // Registers a descriptor for both directions, edge-triggered. Returns 0 or an errno value.
  virtual int watch(int fd, fd_watch& w) noexcept = 0;
  // One descriptor less: it is about to be closed, which ends its registration.
  virtual void forget() noexcept = 0;

  // Waits until something is ready, wake() is called or the deadline is reached; `deadline` <= now only looks.
  // Delivers readiness through fd_watch::ready(), which collects what became runnable in `out`.
  virtual void wait(std::int64_t deadline_ns, std::int64_t now_ns, runnable_batch& out) noexcept = 0;
  virtual void wake() noexcept = 0;

  // Descriptors registered here; any thread.
  virtual std::size_t watched() const noexcept = 0;
};

class seams {
 public:
  virtual ~seams() = default;
  virtual clock_source& clock() = 0;
  virtual std::unique_ptr<random_source> make_random(unsigned processor_index) = 0;
  virtual pick_policy* policy() { return nullptr; }  // Null: the default order, which the compiler can inline.
  virtual std::unique_ptr<poller> make_poller() = 0;
};

}  // namespace thrum::sched
