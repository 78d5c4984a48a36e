// Deterministic simulation: a program's fibers and tasks run on one thread, in virtual time, and every choice (who runs
// next, where a fiber is preempted, which ready case a select takes, how long a stall is) comes from a seed.
//
//   thrum::sim::run({.seed = 42}, program);                // One schedule; the same seed is the same schedule.
//
//   const auto v = thrum::sim::check(program);             // Many of them, each with its seed.
//   if (!v.passed) std::puts(v.report.c_str());            // What failed, one line that replays it, and the story.
//
// A fiber may be preempted wherever a call begins that may suspend it, and runs alone in between. Time stands still
// while fibers run, but for `step` a decision and an occasional stall, and jumps to the next timer when all wait. So a
// bug that needs an unlucky order is found by trying orders, and an hour of sleep takes no time.
//
// A program fails when an exception leaves it, when it ends the process, when nothing can run any more (a deadlock),
// when somebody waits for what is there already (a lost wake-up), when it has not ended after `decisions_max`, or when
// fibers outlive it although they are cancelled. So does a failed expectation of GoogleTest: see sim_gtest.hpp.
//
// What a wake-up was lost for is seen when nobody runs. Who waits for a condition variable, or for guarded data, with a
// predicate and without a deadline, has lost it when the predicate holds and nothing can happen any more, or has held
// for `lost_after`. The predicate is called for that while the mutex is free, and must not change anything.
//
// A program may be a whole main(): thrum::run and runtime work in it, also several of them, say of a server and its
// client, each in a fiber. What they start runs in the simulation, and ends with them (runtime.hpp).
//
// Sockets are simulated: those of the program talk to each other, with latency, short reads and writes, end of stream,
// refusal and resets, and with datagrams that are lost, doubled and overtaken, all on one host unless the program makes
// several (sim_network.hpp). So are Unix sockets, name servers (sim_names.hpp), and files, in memory, on disks that can
// fill up, fail and lose what was not synced (sim_disk.hpp). What is not: threads of the program's own, the kernel's
// descriptors, which adopt() refuses (std::system_error, operation_not_supported), and the std clocks (read
// thrum::clock).
// check() runs a schedule twice now and then, and says so when the two differ; sim_escapes.hpp has clocks show virtual
// time and names the calls that lead outside.
//
// The environment variable THRUM_SIM, in the form of the replay line, replaces the options of run() and makes check()
// run that schedule alone, in this process, where a debugger can follow.
//
// The ideas: Burckhardt, Kothari, Musuvathi and Nagarakatti, "A randomized scheduler with probabilistic guarantees of
// finding bugs" (PCT); Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (shrinking); the
// simulations of FoundationDB, and loom and shuttle for Rust.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <source_location>
#include <string>

#include <thrum/detail/touch.hpp>

namespace thrum::sim {

enum class strategy {
  random_walk,  // Each decision is uniform among those who may run.
  pct,          // Random priorities, changed at depth - 1 random points: finds a bug that needs `depth` orderings.
  uniform,      // Each interleaving about as likely as any other; check() learns from one schedule for the next. In a
                // random walk those in which somebody comes late are rare: it has many chances to come earlier.
  exhaustive,   // All schedules with at most `depth` preemptions, near ones to running in turn first; see `reduction`.
};

// What check() lets go wrong in one place after the other; see budget.
enum class fault {
  none,
  cancellation,  // Whoever makes a call that may suspend is cancelled there.
  allocation,    // There is no memory; for programs that include sim_allocations.hpp.
  start,         // There is no room for another fiber or task, or for its stack: what would start one throws.
};

struct options {
  std::uint64_t seed = 1;
  strategy how = strategy::random_walk;
  unsigned depth = 3;         // Of pct and exhaustive.
  std::size_t horizon = 100;  // Of pct: how many decisions its points are spread over.
  // Of exhaustive: of schedules that differ only in the order of steps which have nothing in common, one is tried. That
  // is right where what activities share is reached under locks, through channels and other objects of thrum, or beside
  // a yield(), or where touch() tells of it.
  bool reduction = true;
  std::chrono::nanoseconds step = std::chrono::microseconds(1);   // Virtual time that passes with a decision,
  std::chrono::nanoseconds stall = std::chrono::milliseconds(1);  // and at most with one of 64 of them. 0: never.
  std::chrono::nanoseconds grace = std::chrono::seconds(10);      // Virtual; for fibers that outlive the program.
  // Virtual. Who waits without a deadline until a predicate holds, and it has held for so long, has been forgotten.
  std::chrono::nanoseconds lost_after = std::chrono::seconds(10);
  // How long what one end of a connection does takes to reach the other.
  std::chrono::nanoseconds latency_min = std::chrono::microseconds(50);
  std::chrono::nanoseconds latency_max = std::chrono::microseconds(500);
  std::uint32_t one_in_resets = 0;       // Of so many segments that arrive, one breaks its connection. 0: none.
  std::uint32_t one_in_lost = 0;         // Of so many UDP datagrams, one does not arrive. 0: none.
  std::uint32_t one_in_duplicated = 0;   // Of so many UDP datagrams, one arrives twice. 0: none.
  std::uint32_t one_in_interrupted = 0;  // Of so many calls on sockets, one fails with EINTR. 0: none.
  std::uint32_t one_in_spurious = 0;     // Of so many events, one also says "readable" and "writable" in vain. 0: none.
  fault goes_wrong = fault::none;        // The call that may suspend, the allocation or the start
  std::uint64_t goes_wrong_at = 0;       // of this number, from 1 on.
  std::size_t decisions_max = 1'000'000;
  std::size_t stack_size = 256 * 1024;  // Of every fiber, as in runtime_options.
  bool leaks_fail = false;  // Whoever still waits a (virtual) second after the program has returned has been forgotten.
};

// What a schedule was. Two runs with equal options have equal traces, or the program depends on something else.
struct trace {
  std::uint64_t calls = 0;              // That could have suspended who made them.
  std::uint64_t allocations = 0;        // Counted where sim_allocations.hpp is.
  std::uint64_t starts = 0;             // Of fibers and tasks.
  std::uint64_t decisions = 0;          // Where more than one could run.
  std::uint64_t fingerprint = 0;        // Of all of them, and of their virtual times.
  std::chrono::nanoseconds elapsed{0};  // Virtual.

  // But for the allocations: the first run of a process may make some for all.
  bool operator==(const trace& other) const noexcept {
    return calls == other.calls && decisions == other.decisions && fingerprint == other.fingerprint &&
           elapsed == other.elapsed;
  }
};

// Runs program() as the main fiber of a simulated runtime; when it has returned, the fibers that are left are
// cancelled, as by thrum::run. Throws what the program throws. A deadlock, a run without end and survivors are reported
// on standard error with the line that replays them, and end the process with status 2. Throws std::invalid_argument
// when THRUM_SIM cannot be read. Not to be called from a fiber.
trace run(const options& o, const std::function<void()>& program,
          std::source_location where = std::source_location::current());

// For strategy::exhaustive: what the calling fiber or task does until its next call that may suspend uses what is at
// this address, say an atomic variable that others use as well. Costs next to nothing elsewhere. Never suspends.
inline void touch(const void* object) noexcept { detail::touch(object); }

struct budget {
  std::size_t schedules = 1000;
  std::uint64_t first_seed = 1;
  std::optional<strategy> how = {};   // None: random_walk and pct in turn.
  options each = {};                  // For every schedule, but for its seed and its strategy.
  std::function<bool()> failed = {};  // Asked after each schedule: a failure that is not an exception.
  // Instead of many schedules, one again and again: first as it is, then with the first call that may suspend
  // cancelled, or the first allocation or start failing, then the second, and so on: what is lost in such a case, at
  // whatever place, shows. That the exception which tells so leaves the program is then no failure: std::bad_alloc, or
  // std::system_error with resource_unavailable_try_again. Throws std::logic_error where allocations are not counted.
  fault in_turn = fault::none;
  bool shrink = true;                 // Look for a failing schedule with few preemptions.
  std::chrono::seconds patience{60};  // Of real time for one schedule; then it hangs, and has failed.
};

struct verdict {
  bool passed = true;
  bool exhausted = false;       // Of the strategy exhaustive: there are no more schedules.
  std::size_t schedules = 0;    // Tried until the failure, this included.
  std::uint64_t decisions = 0;  // In all of them.
  std::string replay = {};      // THRUM_SIM=… of the failing schedule, shrunk.
  std::string report = {};      // What failed, how to replay it, what it printed, and who ran when.
};

// Tries many schedules, in child processes: whatever a schedule breaks, the caller goes on. No runtime may exist
// meanwhile. Throws std::system_error when no child can be had.
verdict check(const std::function<void()>& program, const budget& b = {},
              std::source_location where = std::source_location::current());

}  // namespace thrum::sim
