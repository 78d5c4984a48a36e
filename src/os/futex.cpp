// Linux implementation of os/futex.hpp.
#include "os/futex.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sanitizers.hpp"
#include "os/clock.hpp"

namespace thrum::os {
namespace {

// WAIT_BITSET takes an absolute timeout. 0, or an errno value.
int wait_once(const detail::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept {
  timespec t, *timeout = nullptr;
  if (deadline_ns != no_deadline) {
    t = {.tv_sec = deadline_ns / 1'000'000'000, .tv_nsec = deadline_ns % 1'000'000'000};
    timeout = &t;
  }
  const auto r = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, timeout, nullptr,
                           FUTEX_BITSET_MATCH_ANY);
  return r == 0 ? 0 : errno;
}

}  // namespace

#if !defined(THRUM_TSAN)
bool futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept {
  return wait_once(word, expected, deadline_ns) != ETIMEDOUT;
}
#else
// ThreadSanitizer runs a program's signal handlers only within calls that it knows, and this is none: a thread that
// sleeps here would hold a signal back for as long. So it wakes now and then and makes a call that is one.
bool futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept {
  constexpr std::int64_t longest_sleep_ns = 20'000'000;
  for (;;) {
    const auto until = std::min(deadline_ns, now_ns() + longest_sleep_ns);
    const int error = wait_once(word, expected, until);
    ::usleep(0);
    if (error != ETIMEDOUT) return true;
    if (until == deadline_ns) return false;
  }
}
#endif

void futex_wake(const detail::atomic<std::uint32_t>& word, int count) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, 0);
}

bool membarrier_register() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void membarrier_private() noexcept { ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace thrum::os
