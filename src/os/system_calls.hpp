// What the kernel tells about a thread that sleeps in it.
#pragma once

#include <sys/types.h>

namespace thrum::os {

inline constexpr long no_system_call = -1;    // It runs, or the kernel does not tell.
inline constexpr long outside_of_calls = -2;  // It sleeps, but in no call: in a page fault.

// The number of the system call in which thread `tid` of this process sleeps, from /proc/self/task/TID/syscall.
long system_call_of(pid_t tid) noexcept;

// The name of one of those that may block; null for others.
const char* name_of_system_call(long number) noexcept;

}  // namespace thrum::os
