// With THRUM_TEST_MOVED set, the library's calls to the kernel take long now and then, before and after: long enough
// for a hurried monitor to take the caller's processor away in the middle of a socket's operation, which it then goes
// through as a thread without one. The linker puts these in the place of the C library's (cmake/thrum_tests.cmake).
#include <atomic>
#include <chrono>
#include <cstdlib>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "bare_runtime.hpp"

namespace {

// One in three: no period that a loop of a few calls could fall into step with.
void perhaps_get_stuck() {
  static const bool asked = std::getenv("THRUM_TEST_MOVED") != nullptr;
  static std::atomic<std::uint32_t> calls{0};
  if (asked && calls.fetch_add(0x9e3779b9, std::memory_order_relaxed) < 0x55555555)
    thrum::test::spin(std::chrono::microseconds(100));
}

template <class Call>
auto stuck_around(Call call) {
  perhaps_get_stuck();
  const auto result = call();
  perhaps_get_stuck();  // It leaves errno alone.
  return result;
}

}  // namespace

// The linker's names.
#define THRUM_STUCK(result, call, parameters, arguments)          \
  extern "C" result __real_##call parameters;                     \
  extern "C" result __wrap_##call parameters;                     \
  extern "C" result __wrap_##call parameters {                    \
    return stuck_around([&] { return __real_##call arguments; }); \
  }

THRUM_STUCK(ssize_t, recvmsg, (int fd, msghdr* m, int flags), (fd, m, flags))
THRUM_STUCK(ssize_t, sendmsg, (int fd, const msghdr* m, int flags), (fd, m, flags))
THRUM_STUCK(ssize_t, readv, (int fd, const iovec* parts, int count), (fd, parts, count))
THRUM_STUCK(int, accept4, (int fd, sockaddr* peer, socklen_t* length, int flags), (fd, peer, length, flags))
THRUM_STUCK(int, connect, (int fd, const sockaddr* to, socklen_t length), (fd, to, length))
THRUM_STUCK(int, epoll_ctl, (int fd, int operation, int of, epoll_event* e), (fd, operation, of, e))

// The library receives and sends by this one; other calls, futexes among them, pass.
extern "C" long __real_syscall(long number, ...);
extern "C" long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
extern "C" long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  const auto call = [&] { return __real_syscall(number, a, b, c, d, e, f); };
  return number == SYS_recvfrom || number == SYS_sendto ? stuck_around(call) : call();
}
