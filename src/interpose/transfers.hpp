// Reading and writing by fibers, whatever the descriptor is.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "interpose/fiber_call.hpp"

namespace thrum::interpose {

ssize_t fiber_read(const sched::scheduler& home, int fd, const iovec* v, int n) noexcept;
ssize_t fiber_write(const sched::scheduler& home, int fd, const iovec* v, int n) noexcept;

// A message of a fiber, or several elements that are received until they are full.
ssize_t fiber_recvmsg(const sched::scheduler& home, int fd, msghdr* m, int flags) noexcept;
ssize_t fiber_sendmsg(const sched::scheduler& home, int fd, const msghdr* m, int flags) noexcept;

// Several messages; the time of receiving is looked at between them, as the kernel does.
int fiber_recvmmsg(const sched::scheduler& home, int fd, mmsghdr* all, unsigned n, int flags, timespec* time) noexcept;
int fiber_sendmmsg(const sched::scheduler& home, int fd, mmsghdr* all, unsigned n, int flags) noexcept;

// What never waits, or what the kernel is left to wait for.
bool left_to_the_kernel(int flags) noexcept;

}  // namespace thrum::interpose
