// The runtime: workers, one per available core, that run fibers.
//
//   int main() {
//     return thrum::run([] { … });     // or: thrum::runtime rt; rt.run([] { … });
//   }
//
// A runtime is an object; a process may have several. The calling thread of run() runs no fibers: it waits.
//
// In a simulated program (sim.hpp) a runtime has no threads: its fibers run among those of the simulation. It begins
// and ends in a fiber, which waits at the end as a thread would. Of its options grace and fibers_max count, of its
// statistics `fibers`; workers() is 1; io_engine() is automatic; dump() lists the whole simulation. Stacks larger than
// the simulation's are refused with std::invalid_argument. Used by a plain thread, or when its simulation is over, it
// ends the process.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/cancelled.hpp>
#include <thrum/fiber.hpp>
#include <thrum/io_engine.hpp>
#include <thrum/stall.hpp>

namespace thrum {

// How many workers a runtime gets by default: the CPUs in the affinity mask, or fewer where a cgroup, at any level,
// allows less CPU time.
unsigned available_processors() noexcept;

struct runtime_options {
  unsigned workers = 0;                                       // 0: available_processors(). At most 256.
  std::size_t stack_size = 256 * 1024;                        // Bytes of address space per fiber; memory only as used.
  std::chrono::nanoseconds grace = std::chrono::seconds(10);  // For the fibers that outlive the main function.
  unsigned threads_max = 4096;                                // OS threads, those stuck in long calls included.
  std::size_t fibers_max = std::size_t{16} << 20;             // Alive at once; rounded up to slabs of 128.
  io_engine_kind io_engine = io_engine_kind::automatic;  // What waits for descriptors; THRUM_IO_ENGINE overrides it.
  stall_log stalls = {};                                 // Who keeps a worker for long; THRUM_STALL_LOG overrides it.
};

namespace detail {

class guest;

// While it lives, what the caller starts belongs to the guest, if there is one: a runtime in a simulated program.
class starting_in {
 public:
  explicit starting_in(guest* g);  // Throws std::bad_alloc.
  ~starting_in();
  starting_in(const starting_in&) = delete;
  starting_in& operator=(const starting_in&) = delete;

 private:
  const bool is_guest_;
  guest* before_ = nullptr;  // Which the caller belongs to.
};

}  // namespace detail

class runtime {
 public:
  // Throws std::system_error when threads or descriptors cannot be had, or the engine that was asked for;
  // std::invalid_argument when THRUM_IO_ENGINE names none, or THRUM_STALL_LOG is not understood.
  explicit runtime(const runtime_options& options = {});
  // Cancels the fibers that are left and waits for them, `grace` at most; then names them and aborts.
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  // Runs f() as a fiber, waits for its end and returns its result or throws its exception. May be called by any
  // thread that is not a fiber of this runtime, also several times.
  template <class F>
  std::invoke_result_t<std::decay_t<F>&> run(F&& f, std::source_location where = std::source_location::current());

  // As thrum::go and thrum::spawn, from any thread.
  template <class F>
  void go(F&& f, std::source_location where = std::source_location::current()) {
    launch(std::forward<F>(f), where, true);
  }
  template <class F>
  fiber spawn(F&& f, std::source_location where = std::source_location::current()) {
    return detail::fiber_access::make(launch(std::forward<F>(f), where, false));
  }

  unsigned workers() const noexcept;
  io_engine_choice io_engine() const noexcept;

  // Lists every fiber on standard error: where it was spawned, what it waits for, its stack. SIGQUIT does the same.
  void dump() noexcept;

  // What has happened so far; for tests and dashboards.
  struct statistics {
    std::size_t fibers = 0;            // Alive now.
    std::size_t threads = 0;           // OS threads of the runtime,
    std::size_t threads_max = 0;       // of which the workers may be so many;
    std::size_t threads_stuck = 0;     // of these are held by fibers or tasks that have lost their processor.
    std::size_t timers = 0;            // Armed now.
    std::uint64_t handoffs = 0;        // Processors taken from stuck threads.
    std::uint64_t stalls = 0;          // Beyond the limit of runtime_options::stalls, so far,
    std::uint64_t stalls_dropped = 0;  // and how many of their records take_stalls() will not return any more.
    std::size_t warm_stacks = 0;       // Free stacks that still hold memory, beyond the workers' own caches.
    std::size_t unguarded_stacks = 0;  // Stacks without a guard page.
  };
  statistics stats() const noexcept;

  // The stalls that have ended since the last call, the oldest first, and then those that last; empty unless
  // runtime_options::stalls or THRUM_STALL_LOG sets a limit. The last 256 that have ended are kept. Any thread; does
  // not suspend. Throws std::bad_alloc.
  std::vector<stall_record> take_stalls();

 private:
  friend class inspector;
  template <class F>
  sched::fiber_control* launch(F&& f, std::source_location where, bool detached) {
    const detail::starting_in here(guest());
    return detail::launch(core(), {}, std::forward<F>(f), where, detached);
  }
  sched::scheduler* core() const noexcept;
  detail::guest* guest() const noexcept;
  struct parts;
  std::unique_ptr<parts> parts_;
};

// Runs f() as the main fiber of a new runtime. When f has returned, cancels the fibers that remain and waits for them.
// Returns what f returns (an int, for main), or 0 when it returns nothing; throws what f throws.
template <class F>
auto run(const runtime_options& options, F&& f, std::source_location where = std::source_location::current()) {
  runtime rt(options);
  if constexpr (std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>) {
    rt.run(std::forward<F>(f), where);
    return 0;
  } else {
    return rt.run(std::forward<F>(f), where);
  }
}
template <class F>
auto run(F&& f, std::source_location where = std::source_location::current()) {
  return run(runtime_options{}, std::forward<F>(f), where);
}

// A plain thread that will never wake a fiber may say so while this lives: deadlocks can then be proved in spite of it.
class inert_thread {
 public:
  inert_thread() noexcept;
  ~inert_thread();
  inert_thread(const inert_thread&) = delete;
  inert_thread& operator=(const inert_thread&) = delete;
};

template <class F>
std::invoke_result_t<std::decay_t<F>&> runtime::run(F&& f, std::source_location where) {
  using result = std::invoke_result_t<std::decay_t<F>&>;
  if constexpr (std::is_void_v<result>) {
    fiber main = spawn(std::forward<F>(f), where);
    main.join();
  } else {
    std::optional<result> value;
    fiber main = spawn([&value, function = std::forward<F>(f)]() mutable { value.emplace(function()); }, where);
    main.join();
    if (!value) throw cancelled{};  // The main function let its own cancellation pass.
    return std::move(*value);
  }
}

}  // namespace thrum
