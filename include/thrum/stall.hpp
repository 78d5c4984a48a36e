// Who kept a worker from the others, for how long, and in what.
//
//   thrum::runtime rt({.stalls = {.limit = 20ms, .stacks = true}});      // Or without recompiling:
//                                                                        // THRUM_STALL_LOG=20ms,stacks ./program
// writes to standard error, once a fiber has computed or blocked for 20 ms without giving way, and again at its end:
//
//   thrum: stall 1: fiber 7 "resize" (spawned at images.cpp:41 in serve) has computed for 20.4 ms on thread 4711
//       #0 resize(image const&) (/usr/bin/images+0x5123)
//       …
//   thrum: stall 1: fiber 7 "resize" (spawned at images.cpp:41 in serve) went on after 131.0 ms on thread 4711: 130.2
//   ms
//       computing, 0.0 ms blocked, its processor handed over
//
// A stall is a time in which a fiber or task keeps its thread and makes no call that suspends. It counts by what the
// fiber did with it: the CPU time that its thread has used, and the time that the thread has slept in the kernel, in a
// system call (which the record names) or for a page. A thread that could run but is given no core is not to blame, so
// that time counts for nothing. It is looked at about every millisecond, and what is shorter than two is not seen.
//
// What it costs: while a fiber runs for more than a millisecond, two looks at its thread each millisecond (some
// microseconds, in the monitor's thread); nothing where fibers switch. With `stacks` a fiber that computes beyond the
// limit is interrupted once by a signal, whose handler copies 64 KiB of its stack at most; the monitor unwinds the
// copy. The signal is the highest real-time one whose action was the default when the runtime began; workers unblock
// it. A thread that is blocked is never sent one, but one that goes from computing into a system call in that very
// moment may see it there: calls that SA_RESTART does not cover (poll, nanosleep, …) then return EINTR. The unwinding
// trusts the unwind tables of the code it finds, as exceptions do. The idea is that of perf's --call-graph=dwarf.
//
// In a simulation there are no stalls.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace thrum {

struct stall_record {
  static constexpr std::size_t frames_max = 32;

  std::uint64_t number = 0;  // Counts the runtime's stalls beyond the limit, from 1; the same at begin and end.
  bool ended = false;        // False: it lasts.

  // Who.
  bool is_task = false;
  std::uint64_t id = 0;            // As this_fiber::get_id().
  std::array<char, 32> name = {};  // Ends with a zero; empty when it has none.
  std::source_location where = {};
  int thread = 0;  // As gettid() there.

  // For how long, so far or in all. What `computed` and `blocked` leave of `lasted`, the thread has waited for a core.
  std::chrono::steady_clock::time_point began = {};
  std::chrono::nanoseconds lasted = {};
  std::chrono::nanoseconds computed = {};  // CPU time.
  std::chrono::nanoseconds blocked = {};   // Asleep in the kernel.
  bool handed_over = false;                // Others have got its processor; without one others had to wait for it.

  // In what. The system call in which it was last seen asleep: its number, or one of these.
  static constexpr long in_none = -1;     // It was never seen asleep; or the kernel does not tell.
  static constexpr long in_a_fault = -2;  // Asleep outside of system calls: it waits for a page.
  long system_call = in_none;
  std::array<void*, frames_max> frames = {};  // Where it computed when the limit was reached; return addresses,
  std::size_t frame_count = 0;                // innermost first. None unless asked for, and got.
};

// "read", or "system call 1234" for those that are seldom met.
std::string system_call_name(long number);
// As in the log. Throws std::bad_alloc.
std::string to_string(const stall_record& r);

struct stall_log {
  // Zero: nothing is watched. A stall is told of as soon as it has computed and blocked for so long, and at its end.
  std::chrono::nanoseconds limit = {};
  bool stacks = false;  // Sample where it computes.
  // Called by the monitor's thread, which meanwhile hands over nothing, or by the one that ends the runtime: it should
  // be quick, and must not throw. Null: lines on standard error.
  std::function<void(const stall_record&)> sink = {};
};

}  // namespace thrum
