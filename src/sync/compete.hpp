// How a mutex and a shared_mutex wake: to compete with whoever comes, or as the new owner.
#pragma once

#include <cstdint>

#include "sched/waiter.hpp"

namespace thrum {

inline constexpr std::int64_t starving_after_ns = 1'000'000;

// A task knows one code only, that it is the owner.
inline constexpr sched::claim_code compete = sched::clause_code(0);      // Woken: the mutex may be free.
inline constexpr sched::claim_code handed_over = sched::clause_code(1);  // Woken as the owner.

inline bool is_task(const sched::waiter& w) noexcept { return w.kind() == sched::waiter_kind::task; }

}  // namespace thrum
