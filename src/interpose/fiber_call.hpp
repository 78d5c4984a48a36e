// What the interposed calls have in common: who calls, and attempts that are repeated until one finds something.
#pragma once

#include <cerrno>
#include <cstdint>
#include <ctime>

#include <sys/socket.h>

#include <thrum/blocking.hpp>
#include <thrum/pin.hpp>

#include "interpose/lookout.hpp"
#include "interpose/real.hpp"
#include "sched/foreign_code.hpp"

namespace thrum::interpose {

inline const sched::scheduler* calling_fiber() noexcept { return sched::home_of_calling_fiber(); }

// The kernel knows what to say of others.
inline bool is_time(const timespec& t) noexcept { return t.tv_sec >= 0 && t.tv_nsec >= 0 && t.tv_nsec < 1'000'000'000; }

// In the scheduler's clock; sched::never for a time that is too far away.
std::int64_t deadline_after(std::int64_t seconds, std::int64_t ns) noexcept;
std::int64_t deadline_after_ms(int ms) noexcept;  // Negative: never.

std::int64_t time_left(std::int64_t deadline_ns) noexcept;  // 0 when it is over.

// Resumes on the same thread. False: cancelled.
bool sleep_and_stay(std::int64_t deadline_ns) noexcept;

// A call that succeeds leaves errno alone, whatever was tried.
class kept_errno {
 public:
  kept_errno() noexcept : before_(errno) {}
  kept_errno(const kept_errno&) = delete;
  kept_errno& operator=(const kept_errno&) = delete;
  template <class Result>
  Result operator()(Result r) const noexcept {
    if (r >= 0) errno = before_;
    return r;
  }

 private:
  const int before_;
};

// Makes the call on a thread of the pool; here, if that has none. Resumes on the same thread. False: cancelled, before
// the call was made.
template <class Call>
bool offload_and_stay(Call call, detail::offload_pool& pool = detail::the_offload_pool()) noexcept {
  const this_fiber::pin stay;
  detail::offloaded_call<Call> offloaded(call);
  const auto end = detail::offload(pool, offloaded);
  if (end == detail::offload_end::no_thread || end == detail::offload_end::no_room) call();
  return end != detail::offload_end::cancelled;
}

// The result of the call, and its errno, from a thread of the pool; -1 with ECANCELED in a cancelled scope.
template <class Call>
int made_elsewhere(detail::offload_pool& pool, Call call) noexcept {
  const kept_errno on_success;
  int result = -1;
  int error = ECANCELED;
  offload_and_stay(
      [&]() noexcept {
        result = call();
        error = errno;
      },
      pool);
  errno = error;
  return on_success(result);
}

bool does_not_block(int fd) noexcept;  // O_NONBLOCK, as the caller sees it.

// Of a socket: SO_RCVTIMEO or SO_SNDTIMEO; 0: of something that has none.
std::int64_t deadline_of(int fd, int time_option) noexcept;

enum class verdict { again, failed, kernel };  // Failed: errno says how.

// One interposed call that is about one descriptor.
class fiber_call {
 public:
  fiber_call(const sched::scheduler& home, int fd, purpose p, int time_option) noexcept
      : patience_(home, fd, p), fd_(fd), purpose_(p), time_option_(time_option) {}

  // attempt(flags): the call, with MSG_DONTWAIT so long as it must not block. The result of the one that counts.
  template <class Attempt>
  ssize_t repeat(Attempt attempt) noexcept {
    for (;;) {
      patience_.before_attempt();
      const ssize_t n = attempt(MSG_DONTWAIT);
      if (n >= 0 || errno != EAGAIN) return n;
      const verdict v = after_nothing();
      if (v == verdict::failed) return -1;
      if (v == verdict::kernel) return blocked(attempt);
    }
  }

 private:
  static constexpr int hopes_max = 16;

  verdict after_nothing() noexcept;
  template <class Attempt>
  static ssize_t blocked(Attempt attempt) noexcept {
    for (;;) {
      const ssize_t n = attempt(0);
      if (n >= 0 || errno != EINTR) return n;
    }
  }

  patience patience_;
  const int fd_;
  const purpose purpose_;
  const int time_option_;
  std::int64_t deadline_ns_ = 0;  // 0: not asked yet.
  bool late_ = false;
  int hopes_ = 0;  // How often writing was said to be possible, and was not.
};

}  // namespace thrum::interpose
