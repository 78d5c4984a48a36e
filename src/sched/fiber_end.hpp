// How a fiber ends: running its closure, keeping or reporting its exception, waking who joins it.
#pragma once

#include "sched/fiber_control.hpp"

namespace thrum::sched {

// Runs f's closure on f's own stack, outside the runtime, and completes f. Not noexcept, though it never throws: an
// exception that nobody can receive finds no handler, so that std::terminate is called where it was thrown and the
// report shows that stack.
void run_closure(fiber_control& f);

// Waits until f has completed. False when the deadline passed first; throws cancelled unless shielded.
bool join(fiber_control& f, std::int64_t deadline_ns, bool shielded);

// Nobody will join it: an exception of it ends the process. Throws the exception if it has already ended with one.
void detach(fiber_control& f);

}  // namespace thrum::sched
