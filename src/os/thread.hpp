// OS threads as the runtime sees them: creation, names, signal masks, timer slack, CPU clocks and kernel state.
#pragma once

#include <cstdint>

#include <pthread.h>
#include <sys/types.h>

namespace thrum::os {

void yield_thread() noexcept;
void sleep_thread_ns(std::int64_t ns) noexcept;
pid_t thread_id() noexcept;

// Starts a detached-from-libc++ thread that runs entry(argument) with all asynchronous signals blocked, except
// SIGPROF. Returns 0 or an errno value.
int start_thread(pthread_t& thread, void* (*entry)(void*), void* argument) noexcept;

void join_thread(pthread_t thread) noexcept;  // Waits until it has ended.

// For tests: only so many more can be started, then there is EAGAIN; -1 for no limit.
void limit_threads(int more) noexcept;

// The calling thread: its name (cut to 15 characters) and wake-ups as exact as the kernel can make them.
void name_thread(const char* name) noexcept;
void want_exact_timers() noexcept;

// How long the kernel may let thread `tid` run before others of equal weight get their turn (EEVDF slices, Linux
// 6.12; older kernels ignore it). 0 restores the kernel's default.
void set_time_slice(pid_t tid, std::int64_t ns) noexcept;

// CPU time consumed by a thread so far, or -1 when it cannot be read.
std::int64_t thread_cpu_ns(pid_t tid) noexcept;

// The state letter of /proc/self/task/TID/stat ('R', 'S', 'D', …), or '?'.
char thread_state(pid_t tid) noexcept;

// Number of threads of this process, or -1.
int thread_count() noexcept;

}  // namespace thrum::os
