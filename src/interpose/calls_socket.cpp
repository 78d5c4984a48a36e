// accept and connect, and what ends a descriptor, as libc exports them.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "interpose/fiber_call.hpp"
#include "os/thread.hpp"

using namespace thrum;
using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

int option_of(int fd, int option) noexcept {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

bool has_nobody(int listener) noexcept {
  pollfd one{.fd = listener, .events = POLLIN, .revents = 0};
  return real::poll(&one, 1, 0) == 0 && option_of(listener, SO_ACCEPTCONN) == 1;
}

// The kernel has no accept that does not block for one call only: so poll(2) first, one at a time in this process.
template <class Accept>
int fiber_accept(const sched::scheduler& home, int fd, Accept accept_now) noexcept {
  if (does_not_block(fd)) return accept_now();
  const kept_errno on_success;
  fiber_call call(home, fd, purpose::reading, SO_RCVTIMEO);
  return on_success(static_cast<int>(call.repeat([&](int flags) -> ssize_t {
    if (flags == 0) return accept_now();
    while (!has_nobody(fd)) {
      const accept_turn turn(fd);
      if (!turn.mine())
        os::yield_thread();
      else if (!has_nobody(fd))
        return accept_now();
    }
    errno = EAGAIN;
    return -1;
  })));
}

// connect has no MSG_DONTWAIT either. With the shortest of send timeouts it comes back after a tick of the kernel's
// clock, and the connection goes on being made. A thread of the pool waits for that tick.
struct brief_connect {
  int fd;
  const sockaddr* peer;
  socklen_t length;
  int error = 0;

  void start() noexcept {
    timeval before{};
    socklen_t size = sizeof before;
    const timeval tick{.tv_sec = 0, .tv_usec = 1};
    const bool timed = ::getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, &size) == 0 &&
                       ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick) == 0;
    error = real::connect(fd, peer, length) == 0 ? 0 : errno;
    if (timed) ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, sizeof before);
  }
};

bool is_being_made(int error) noexcept { return error == EINPROGRESS || error == EALREADY || error == EAGAIN; }

int failed_with(int error) noexcept {
  errno = error;
  return -1;
}

// Once the socket is writable, connecting again tells how it went.
int finish_connect(const sched::scheduler& home, const brief_connect& c) noexcept {
  fiber_call call(home, c.fd, purpose::writing, SO_SNDTIMEO);
  const auto r = call.repeat([&](int flags) -> ssize_t {
    pollfd one{.fd = c.fd, .events = POLLOUT, .revents = 0};
    if (flags == 0 || real::poll(&one, 1, 0) != 0) return real::connect(c.fd, c.peer, c.length);
    errno = EAGAIN;
    return -1;
  });
  if (r < 0 && errno == EAGAIN) errno = c.error;  // The time is over.
  return static_cast<int>(r);
}

// Only TCP's takes time by itself. That to a Unix socket waits only for room in a queue, of which nobody tells.
bool takes_time(int fd) noexcept {
  const int domain = option_of(fd, SO_DOMAIN);
  return (domain == AF_INET || domain == AF_INET6) && option_of(fd, SO_TYPE) == SOCK_STREAM;
}

int fiber_connect(const sched::scheduler& home, int fd, const sockaddr* peer, socklen_t length) noexcept {
  if (does_not_block(fd) || !takes_time(fd)) return real::connect(fd, peer, length);
  const kept_errno on_success;
  brief_connect brief{fd, peer, length};
  if (!offload_and_stay([&]() noexcept { brief.start(); })) return failed_with(ECANCELED);
  if (brief.error == 0) return on_success(0);
  if (!is_being_made(brief.error)) return failed_with(brief.error);
  return on_success(finish_connect(home, brief));
}

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_sockets;  // See everything.cpp.
const char thrum_interposed_sockets = 0;

int accept4(int fd, sockaddr* peer, socklen_t* length, int flags) {
  const auto* home = calling_fiber();
  if (!home) [[likely]]
    return real::accept4(fd, peer, length, flags);
  return fiber_accept(*home, fd, [&] { return real::accept4(fd, peer, length, flags); });
}

int accept(int fd, sockaddr* peer, socklen_t* length) {
  const auto* home = calling_fiber();
  if (!home) [[likely]]
    return real::accept(fd, peer, length);
  return fiber_accept(*home, fd, [&] { return real::accept(fd, peer, length); });
}

int connect(int fd, const sockaddr* peer, socklen_t length) {
  const auto* home = calling_fiber();
  if (!home) [[likely]]
    return real::connect(fd, peer, length);
  return fiber_connect(*home, fd, peer, length);
}

// ---------------------------------------------------------------------------------------------------------------
// The end of a descriptor, or of what its number stands for.

int close(int fd) {
  forget_descriptor(fd);
  return real::close(fd);
}

int dup2(int from, int to) noexcept {
  if (from != to && ::fcntl(from, F_GETFD) >= 0) forget_descriptor(to);
  return real::dup2(from, to);
}

int dup3(int from, int to, int flags) noexcept {
  if (from != to && ::fcntl(from, F_GETFD) >= 0) forget_descriptor(to);
  return real::dup3(from, to, flags);
}

}  // extern "C"
