// Waiting between attempts.
#include "interpose/fiber_call.hpp"

#include <algorithm>

#include <fcntl.h>
#include <sys/time.h>

#include <thrum/pin.hpp>

#include "sched/seams.hpp"
#include "sched/wait.hpp"

namespace thrum::interpose {

std::int64_t deadline_after(std::int64_t seconds, std::int64_t ns) noexcept {
  constexpr std::int64_t seconds_max = 4'000'000'000;
  if (seconds > seconds_max) return sched::never;
  return sched::now_ns() + seconds * 1'000'000'000 + ns;
}

std::int64_t deadline_after_ms(int ms) noexcept {
  return ms < 0 ? sched::never : deadline_after(ms / 1000, ms % 1000 * 1'000'000LL);
}

std::int64_t time_left(std::int64_t deadline_ns) noexcept {
  return deadline_ns == sched::never ? sched::never : std::max<std::int64_t>(deadline_ns - sched::now_ns(), 0);
}

bool sleep_and_stay(std::int64_t deadline_ns) noexcept {
  const this_fiber::pin stay;
  return sched::sleep_reporting(deadline_ns);
}

bool does_not_block(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 || (flags & O_NONBLOCK) != 0;
}

std::int64_t deadline_of(int fd, int time_option) noexcept {
  timeval t{};
  socklen_t size = sizeof t;
  if (time_option == 0 || ::getsockopt(fd, SOL_SOCKET, time_option, &t, &size) != 0) return sched::never;
  if (t.tv_sec == 0 && t.tv_usec == 0) return sched::never;
  return deadline_after(t.tv_sec, t.tv_usec * 1000);
}

verdict fiber_call::after_nothing() noexcept {
  if (late_) return verdict::failed;
  if (deadline_ns_ == 0) {
    if (time_option_ != 0 && does_not_block(fd_)) {
      errno = EAGAIN;
      return verdict::failed;
    }
    deadline_ns_ = deadline_of(fd_, time_option_);
  }
  // Some cannot be waited for: a Unix datagram socket that is not connected is writable, however full its peer is.
  if (purpose_ == purpose::writing && ++hopes_ > hopes_max) return verdict::kernel;
  switch (patience_.wait(deadline_ns_)) {
    case outcome::look:
      return verdict::again;
    case outcome::timed_out:
      late_ = true;
      return verdict::again;
    case outcome::kernel:
      return verdict::kernel;
    case outcome::cancelled:
      errno = ECANCELED;
      break;
    case outcome::closed:
      errno = EBADF;
      break;
  }
  return verdict::failed;
}

}  // namespace thrum::interpose
