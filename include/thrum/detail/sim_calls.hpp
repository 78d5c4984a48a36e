// The calls by which a simulated program would leave its simulation: what sim_escapes.hpp defines and the library
// answers. The types are as the ABI passes them: no header of the operating system is needed.
#pragma once

namespace thrum::detail {

// Of sim_calls::x, the symbol x. Each: result, name, parameters, arguments.
#define THRUM_SIM_CLOCK_CALLS(X)                                       \
  X(int, clock_gettime, (int clock, void* time), (clock, time))        \
  X(int, gettimeofday, (void* time, void* timezone), (time, timezone)) \
  X(int, timespec_get, (void* time, int base), (time, base))           \
  X(long, time, (long* seconds), (seconds))

#define THRUM_SIM_THREAD_ADVICE "start a fiber or a task"
#define THRUM_SIM_SLEEP_ADVICE "use thrum::this_fiber::sleep_for"
#define THRUM_SIM_SOCKET_ADVICE "use what a simulation has of thrum::net"
#define THRUM_SIM_POLL_ADVICE "nothing outside happens meanwhile; select waits for several things"
#define THRUM_SIM_RANDOM_ADVICE "no two runs would be the same; use a generator with a seed of its own"

// The same, when it is an escape, and what to do instead.
#define THRUM_SIM_NAMED_CALLS(X)                                                                                       \
  X(int, pthread_create, (void* thread, const void* attributes, void* (*start)(void*), void* argument),                \
    (thread, attributes, start, argument), true, THRUM_SIM_THREAD_ADVICE)                                              \
  X(int, nanosleep, (const void* time, void* left), (time, left), true, THRUM_SIM_SLEEP_ADVICE)                        \
  X(int, clock_nanosleep, (int clock, int flags, const void* time, void* left), (clock, flags, time, left), true,      \
    THRUM_SIM_SLEEP_ADVICE)                                                                                            \
  X(int, usleep, (unsigned us), (us), true, THRUM_SIM_SLEEP_ADVICE)                                                    \
  X(unsigned, sleep, (unsigned seconds), (seconds), true, THRUM_SIM_SLEEP_ADVICE)                                      \
  X(int, poll, (void* fds, unsigned long n, int ms), (fds, n, ms), ms != 0, THRUM_SIM_POLL_ADVICE)                     \
  X(int, ppoll, (void* fds, unsigned long n, const void* time, const void* mask), (fds, n, time, mask),                \
    may_wait(time), THRUM_SIM_POLL_ADVICE)                                                                             \
  X(int, select, (int n, void* r, void* w, void* e, void* time), (n, r, w, e, time), may_wait(time),                   \
    THRUM_SIM_POLL_ADVICE)                                                                                             \
  X(int, pselect, (int n, void* r, void* w, void* e, const void* time, const void* mask), (n, r, w, e, time, mask),    \
    may_wait(time), THRUM_SIM_POLL_ADVICE)                                                                             \
  X(int, epoll_wait, (int fd, void* events, int n, int ms), (fd, events, n, ms), ms != 0, THRUM_SIM_POLL_ADVICE)       \
  X(int, epoll_pwait, (int fd, void* events, int n, int ms, const void* mask), (fd, events, n, ms, mask), ms != 0,     \
    THRUM_SIM_POLL_ADVICE)                                                                                             \
  X(int, epoll_pwait2, (int fd, void* events, int n, const void* time, const void* mask), (fd, events, n, time, mask), \
    may_wait(time), THRUM_SIM_POLL_ADVICE)                                                                             \
  X(int, socket, (int family, int type, int protocol), (family, type, protocol), true, THRUM_SIM_SOCKET_ADVICE)        \
  X(int, socketpair, (int family, int type, int protocol, int* ends), (family, type, protocol, ends), true,            \
    THRUM_SIM_SOCKET_ADVICE)                                                                                           \
  X(int, bind, (int fd, const void* address, unsigned size), (fd, address, size), true, THRUM_SIM_SOCKET_ADVICE)       \
  X(int, listen, (int fd, int backlog), (fd, backlog), true, THRUM_SIM_SOCKET_ADVICE)                                  \
  X(int, accept, (int fd, void* peer, unsigned* size), (fd, peer, size), true, THRUM_SIM_SOCKET_ADVICE)                \
  X(int, accept4, (int fd, void* peer, unsigned* size, int flags), (fd, peer, size, flags), true,                      \
    THRUM_SIM_SOCKET_ADVICE)                                                                                           \
  X(int, connect, (int fd, const void* peer, unsigned size), (fd, peer, size), true, THRUM_SIM_SOCKET_ADVICE)          \
  X(long, send, (int fd, const void* data, unsigned long n, int flags), (fd, data, n, flags), true,                    \
    THRUM_SIM_SOCKET_ADVICE)                                                                                           \
  X(long, sendto, (int fd, const void* data, unsigned long n, int flags, const void* to, unsigned size),               \
    (fd, data, n, flags, to, size), true, THRUM_SIM_SOCKET_ADVICE)                                                     \
  X(long, sendmsg, (int fd, const void* message, int flags), (fd, message, flags), true, THRUM_SIM_SOCKET_ADVICE)      \
  X(long, recv, (int fd, void* data, unsigned long n, int flags), (fd, data, n, flags), true, THRUM_SIM_SOCKET_ADVICE) \
  X(long, recvfrom, (int fd, void* data, unsigned long n, int flags, void* from, unsigned* size),                      \
    (fd, data, n, flags, from, size), true, THRUM_SIM_SOCKET_ADVICE)                                                   \
  X(long, recvmsg, (int fd, void* message, int flags), (fd, message, flags), true, THRUM_SIM_SOCKET_ADVICE)            \
  X(int, getaddrinfo, (const char* host, const char* service, const void* hints, void* found),                         \
    (host, service, hints, found), true, "give the program addresses instead of names")                                \
  X(long, getrandom, (void* data, unsigned long n, unsigned flags), (data, n, flags), true, THRUM_SIM_RANDOM_ADVICE)   \
  X(int, getentropy, (void* data, unsigned long n), (data, n), true, THRUM_SIM_RANDOM_ADVICE)                          \
  X(unsigned, arc4random, (), (), true, THRUM_SIM_RANDOM_ADVICE)                                                       \
  X(unsigned, arc4random_uniform, (unsigned bound), (bound), true, THRUM_SIM_RANDOM_ADVICE)                            \
  X(void, arc4random_buf, (void* data, unsigned long n), (data, n), true, THRUM_SIM_RANDOM_ADVICE)

namespace sim_calls {

#define THRUM_SIM_DECLARE(result, name, parameters, ...) result name parameters;
THRUM_SIM_CLOCK_CALLS(THRUM_SIM_DECLARE)
THRUM_SIM_NAMED_CALLS(THRUM_SIM_DECLARE)
#undef THRUM_SIM_DECLARE

unsigned random_device_value(void* device);  // What std::random_device's operator() calls in libstdc++.

}  // namespace sim_calls
}  // namespace thrum::detail
