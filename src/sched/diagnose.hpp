// Reports: stack overflow, uncaught exceptions, dumps of all fibers, deadlocks. All go to standard error.
//
// Process-wide parts (the handlers of SIGSEGV, SIGBUS, SIGQUIT and std::terminate, and the panic hook) are installed
// with the first scheduler and removed with the last. Handlers chain to what was installed before.
#pragma once

#include <atomic>
#include <csignal>
#include <cstddef>

#include "base/assert.hpp"
#include "sched/fiber_control.hpp"

namespace thrum::sched {

class scheduler;

void install_diagnostics(scheduler& s);
void uninstall_diagnostics(scheduler& s) noexcept;
// `f` is called whenever the last scheduler of the process has ended: by whoever keeps threads for all of them. It may
// block. There is one such.
void after_last_scheduler(void (*f)() noexcept) noexcept;

// Per worker thread: the alternate stack on which an overflow is reported.
void prepare_signal_stack() noexcept;
void release_signal_stack() noexcept;

// What a child of the program is to get, since workers block signals. False, and nothing, on a thread that is none.
bool mask_before_runtime(sigset_t& mask) noexcept;

// "fiber 7 "name" {label=value} (spawned at file:line in function)". The labels are the activity's own: to be read
// while it is parked and under inspection, or by itself.
enum class labels { shown, left_out };
void describe(const activity& a, labels shown) noexcept;

[[noreturn]] void report_overflow(const fiber_control& f) noexcept;
// std::terminate was called in the fiber: says why, and prints the calling stack.
void report_uncaught(const activity& a) noexcept;

// In builds with assertions: called whenever an activity is left, by whoever checks what it must not hold then
// (lock_check). Null: nobody does.
using suspension_check = void (*)(const activity& a, bool ends) noexcept;
inline std::atomic<suspension_check> at_suspension{nullptr};
inline void check_suspension(const activity& a, bool ends) noexcept {
  if constexpr (base::assertions)
    if (auto* check = at_suspension.load(std::memory_order_relaxed)) check(a, ends);
}

// Lists every fiber and task: where it was spawned, what it waits for, who holds it, its stack. Called by the monitor.
void dump_all(scheduler& s) noexcept;

// Those who hold threads without a processor: the longest, one a line. At once: what it says may be over.
void report_stuck_threads(scheduler& s) noexcept;

// Says what can be proved of who waits for whom (wait_graph.hpp).
void report_findings(scheduler& s) noexcept;

// When nothing can ever run again: reports and exits with status 2. Called by the monitor when all processors sleep.
// True when only a thread that is not the runtime's could still wake somebody: it may come to wait or end unnoticed, so
// one has to look again.
bool check_deadlock(scheduler& s) noexcept;

// True when this process has several schedulers: then no deadlock can be proved from one alone.
bool other_schedulers_exist(const scheduler& s) noexcept;

// Live fibers by name, for the survivors' report; at most `most` of them.
std::size_t report_survivors(scheduler& s, std::size_t most) noexcept;

}  // namespace thrum::sched
