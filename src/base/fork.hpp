// After fork() without exec the child has one thread: the runtime's are gone, and with them everything that could run
// a fiber or wake one. Calls that would need them end the child with one sentence.
//
// The check stands where a call is slow anyway or where a plain thread takes its own way: a worker's own fast paths
// reach it because the fork makes its thread a stranger to its worker (sched/signals.cpp).
#pragma once

#include <atomic>

namespace thrum::base {

extern std::atomic<bool> forked_away;  // Set in the child of a process that had a runtime.

[[noreturn]] void die_after_fork() noexcept;

inline void refuse_after_fork() noexcept {
  if (forked_away.load(std::memory_order_relaxed)) [[unlikely]]
    die_after_fork();
}

}  // namespace thrum::base
