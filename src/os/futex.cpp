// Linux implementation of os/futex.hpp.
#include "os/futex.hpp"

#include <cerrno>
#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define THRUM_SIGNALS_ARE_HELD_BACK 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THRUM_SIGNALS_ARE_HELD_BACK 1
#endif
#endif

namespace thrum::os {
namespace {

#if defined(THRUM_SIGNALS_ARE_HELD_BACK)
constexpr std::int64_t longest_sleep_ns = 20'000'000;

bool sleep_is_long(const timespec* deadline, timespec& shorter) noexcept {
  ::clock_gettime(CLOCK_MONOTONIC, &shorter);
  shorter.tv_nsec += longest_sleep_ns;
  if (shorter.tv_nsec >= 1'000'000'000) {
    ++shorter.tv_sec;
    shorter.tv_nsec -= 1'000'000'000;
  }
  return !deadline || deadline->tv_sec > shorter.tv_sec ||
         (deadline->tv_sec == shorter.tv_sec && deadline->tv_nsec > shorter.tv_nsec);
}
#endif

}  // namespace

bool futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept {
  timespec t, *timeout = nullptr;
  if (deadline_ns != no_deadline) {
    t = {.tv_sec = deadline_ns / 1'000'000'000, .tv_nsec = deadline_ns % 1'000'000'000};
    timeout = &t;
  }
  // WAIT_BITSET takes an absolute timeout.
#if defined(THRUM_SIGNALS_ARE_HELD_BACK)
  // ThreadSanitizer runs a program's signal handlers only within calls that it knows, and this is none: a thread that
  // sleeps here would hold a signal back for as long. So it wakes now and then and makes a call that is one.
  timespec shorter;
  const bool is_long = sleep_is_long(timeout, shorter);
  if (is_long) timeout = &shorter;
#endif
  const auto r = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, timeout, nullptr,
                           FUTEX_BITSET_MATCH_ANY);
#if defined(THRUM_SIGNALS_ARE_HELD_BACK)
  const int error = errno;
  ::usleep(0);
  errno = error;
  if (is_long) return true;
#endif
  return !(r == -1 && errno == ETIMEDOUT);
}

void futex_wake(const detail::atomic<std::uint32_t>& word, int count) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, 0);
}

bool membarrier_register() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void membarrier_private() noexcept { ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace thrum::os
