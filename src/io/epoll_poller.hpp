// The poller on epoll: one epoll instance per processor, every descriptor registered once, edge-triggered, for both
// directions; an eventfd wakes it.
//
// Thread safety: as the poller contract says (sched/seams.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "sched/seams.hpp"

namespace thrum::io {

// Throws std::system_error when descriptors are exhausted.
std::unique_ptr<sched::poller> make_epoll_poller();

// For tests: behave as on kernels without epoll_pwait2 (before 5.11).
void forbid_epoll_pwait2(bool forbidden) noexcept;

}  // namespace thrum::io
