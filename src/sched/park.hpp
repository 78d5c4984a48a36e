// Making waiters runnable: the one way from "claimed" back to running.
#pragma once

#include "sched/seams.hpp"
#include "sched/waiter.hpp"

namespace thrum::sched {

// Claims the waiter for `code` and, when it is parked, makes it runnable at once (next on this worker).
// True when this call won the episode.
bool wake(waiter& w, claim_code code) noexcept;

// The same, but what must be resumed is collected in `out`; plain threads are woken at once.
bool claim_waiter(waiter& w, claim_code code, runnable_batch& out) noexcept;
bool claim_waiter_episode(waiter& w, std::uint64_t episode, claim_code code, runnable_batch& out) noexcept;

// For the winner of claim_result::resume; ready_waiter() inside the runtime.
void ready_waiter(waiter& w) noexcept;
void make_runnable(waiter& w) noexcept;
void make_runnable(runnable_batch& batch) noexcept;

}  // namespace thrum::sched
