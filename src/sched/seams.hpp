// What the scheduler receives from outside: clock, random source, pick policy, poller. The defaults are the real ones;
// a simulation passes its own. Nothing in the scheduler asks which it has.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/rng.hpp"

namespace thrum::sched {

struct activity;
class processor;
class fd_watch;
class socket_system;
class file_system;

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

class seeded_source final : public random_source {
 public:
  explicit seeded_source(base::rng rng) noexcept : rng_(rng) {}
  std::uint64_t next() noexcept override { return rng_.next(); }

 private:
  base::rng rng_;
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

// Decides who runs next. Only for schedulers of one processor: it sees all that is runnable, and keeps it.
class pick_policy {
 public:
  virtual ~pick_policy() = default;
  // One of those that it keeps, which is then no longer its own; null when there is none. `found` have become runnable
  // since it was last asked.
  virtual activity* pick(const runnable_batch& found) noexcept = 0;
  // Asked where a call that may suspend begins: true if the caller is to give way there.
  virtual bool preempts(activity& caller) noexcept = 0;
  // Asked before a fiber or a task is created: true if there is to be no room for it.
  virtual bool refuses_another() noexcept { return false; }
};

// Tells about descriptors. One per processor. wait() is called by one thread at a time; watch(), forget() and wake()
// by any thread.
class poller {
 public:
  virtual ~poller() = default;

  // Registers a descriptor for both directions, edge-triggered. Returns 0 or an errno value.
  virtual int watch(int fd, fd_watch& w) noexcept = 0;
  // Ends the registration, before the descriptor is closed: afterwards nothing here keeps the file open. The watch's
  // generation has been raised, so what is still told of it is ignored. May sleep; outside of the runtime, no locks
  // held that a worker takes inside.
  virtual void forget(fd_watch& w) noexcept = 0;

  // For a descriptor of others, who may close, duplicate or share it unseen. Counts the watch, to be forgotten like
  // any; false: this poller cannot do it. Then watch_once() has `events`, bits of poll(2), told through
  // fd_watch::ready_once(): once for each call, and only what is so after it. Not for two watches of one descriptor at
  // a time. Returns 0 or an errno value. Any thread.
  virtual bool adopt(fd_watch&) noexcept { return false; }
  virtual int watch_once(int, fd_watch&, unsigned /*events*/) noexcept { return ENOTSUP; }

  // Waits until something is ready, wake() is called or the deadline is reached; `deadline` <= now only looks.
  // Delivers readiness through fd_watch::ready(), which collects what became runnable in `out`.
  virtual void wait(std::int64_t deadline_ns, std::int64_t now_ns, runnable_batch& out) noexcept = 0;
  virtual void wake() noexcept = 0;

  // Descriptors registered here; any thread.
  virtual std::size_t watched() const noexcept = 0;
};

// Takes in the runtimes that the program makes: they become guests of this scheduler, instead of schedulers of their
// own. Only for schedulers of one worker. See runtime/guest.hpp.
class runtime_host {
 public:
  virtual ~runtime_host() = default;
  // The program cannot go on: says so, and ends the process.
  [[noreturn]] virtual void fail(const char* what) noexcept = 0;
  // Calls what the program has offloaded, at once and here: that may do what the program itself must not.
  virtual void call_outside(void (*call)(void* argument) noexcept, void* argument) noexcept = 0;
};

class seams {
 public:
  virtual ~seams() = default;
  virtual clock_source& clock() = 0;
  virtual std::unique_ptr<random_source> make_random(unsigned processor_index) = 0;
  virtual pick_policy* policy() { return nullptr; }  // Null: the default order, which the compiler can inline.
  virtual std::unique_ptr<poller> make_poller() = 0;
  virtual std::string_view describe_poller() const noexcept { return {}; }  // For dumps; empty: nothing to say.
  virtual socket_system* sockets() { return nullptr; }                      // Null: the kernel's.
  virtual file_system* files() { return nullptr; }                          // Null: the kernel's.
  virtual runtime_host* host() { return nullptr; }                          // Null: runtimes have threads of their own.
};

}  // namespace thrum::sched
