// The poller on io_uring: one ring per processor, one multishot poll per descriptor, and a thread that owns them.
// Where the library was built without liburing (THRUM_URING), there is always an obstacle.
//
// Thread safety: as the poller contract says (sched/seams.hpp).
#pragma once

#include <memory>

#include "sched/seams.hpp"

namespace thrum::io {

// Why this process cannot have the engine, as a clause: tries it. Null: it can.
const char* uring_obstacle() noexcept;

// Throws std::system_error when the kernel refuses, or descriptors, memory or threads are exhausted.
std::unique_ptr<sched::poller> make_uring_poller();

}  // namespace thrum::io
