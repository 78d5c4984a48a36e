// What libc's interposition (src/interpose), a library of its own, asks of the scheduler: out of line, because the
// thread's own worker cannot be seen from there.
#pragma once

#include <cstdint>

#include "sched/fd_watch.hpp"

namespace thrum::sched {

class scheduler;

// The scheduler of the fiber whose own code calls. Null where a call is to be left to the kernel: on plain threads, in
// tasks, which cannot wait so, in the runtime itself, in a simulation, and in forked children. Any thread; does not
// enter the runtime.
const scheduler* home_of_calling_fiber() noexcept;

// Waits, on a fiber, for an edge in the reading direction, unless one is marked. A cancellation point that reports.
fd_watch::outcome wait_for_edge(fd_watch& watch, std::int64_t deadline_ns) noexcept;

// Sleeps until then, on a fiber. False: it was cancelled. A cancellation point that reports.
bool sleep_reporting(std::int64_t deadline_ns) noexcept;

}  // namespace thrum::sched
