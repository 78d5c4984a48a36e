// Keeps simulated programs inside: defines libc's calls that lead out of a simulation (sim.hpp). To be included in
// exactly one source of a test program. Whoever makes such a call, the program itself, libstdc++ or another shared
// library, then comes here, and when it is a simulated program that does:
//
//   - clock_gettime, gettimeofday, time and timespec_get tell virtual time, and so do the clocks of std::chrono.
//     steady_clock is thrum::clock; system_clock is that many seconds later than the year 2000 began, in UTC. Clocks
//     of CPU time, and clock(), are the real ones.
//   - Threads (pthread_create), sockets, sleeps (nanosleep and its like), waits for descriptors (poll, select and
//     epoll_wait, unless they only look), getaddrinfo and sources of real chance (getrandom, std::random_device and its
//     like) end the simulation: it says which call it was, who made it, where, and how to replay it, and ends the
//     process with status 2, which check() reports as a failure.
//
// Not in what `blocking(f)` calls, which is outside by intention: there all of these are the real ones, the clocks too.
// Nor inside of the runtime, on other threads, or outside of simulated programs. Without this header
// such calls go unnoticed until two runs of a seed differ.
//
// Not for programs that are linked statically, or with thrum::interpose, which defines the same functions. In a library
// that is loaded by dlopen a call comes here if the library was named to the linker too. ThreadSanitizer watches
// threads and clocks by definitions of its own, of which it depends: under it this header does nothing.
#pragma once

#include <thrum/detail/sim_calls.hpp>

#if defined(__SANITIZE_THREAD__)
#define THRUM_SIM_CANNOT_SEE_ESCAPES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THRUM_SIM_CANNOT_SEE_ESCAPES 1
#endif
#endif

#if !defined(THRUM_SIM_CANNOT_SEE_ESCAPES)

// By their assembler names: the C library's own declarations, with types that are not ours, may be visible too.
#define THRUM_SIM_DEFINE(result, name, parameters, arguments, ...)                                   \
  extern "C" [[gnu::visibility("default")]] result thrum_simulated_##name parameters __asm__(#name); \
  extern "C" result thrum_simulated_##name parameters { return ::thrum::detail::sim_calls::name arguments; }
THRUM_SIM_CLOCK_CALLS(THRUM_SIM_DEFINE)
THRUM_SIM_NAMED_CALLS(THRUM_SIM_DEFINE)
#undef THRUM_SIM_DEFINE

// libstdc++ may take its numbers from the processor, without any call. Weak: its archive has the same definition.
extern "C" [[gnu::visibility("default"), gnu::weak]] unsigned thrum_simulated_random_device(void* device) __asm__(
    "_ZNSt13random_device9_M_getvalEv");
extern "C" unsigned thrum_simulated_random_device(void* device) {
  return ::thrum::detail::sim_calls::random_device_value(device);
}

#endif
