// What libc's interposition (src/interpose), a library of its own, asks of the scheduler: out of line, because the
// thread's own worker cannot be seen from there.
#pragma once

#include <cstdint>

namespace thrum::sched {

class scheduler;

// The scheduler of the fiber whose own code calls. Null where a call is to be left to the kernel: on plain threads, in
// tasks, which cannot wait so, in the runtime itself, in a simulation, and in forked children. Any thread; does not
// enter the runtime.
const scheduler* home_of_calling_fiber() noexcept;

// Sleeps until then, on a fiber. False: it was cancelled. A cancellation point that reports.
bool sleep_reporting(std::int64_t deadline_ns) noexcept;

}  // namespace thrum::sched
