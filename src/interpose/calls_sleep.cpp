// sleep and its relatives, as libc exports them.
#include <cerrno>
#include <ctime>

#include "interpose/fiber_call.hpp"
#include "sched/wait.hpp"

using namespace thrum;
using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;

timespec to_timespec(std::int64_t ns) noexcept {
  if (ns < 0) ns = 0;
  return {.tv_sec = ns / ns_per_s, .tv_nsec = ns % ns_per_s};
}

// True: slept. False: cancelled, and `left` says for how long it should have gone on.
bool sleep_for(const timespec& time, timespec* left) noexcept {
  const auto deadline = deadline_after(time.tv_sec, time.tv_nsec);
  if (sleep_and_stay(deadline)) return true;
  if (left) *left = to_timespec(deadline - sched::now_ns());
  return false;
}

// Clocks that go on while nothing runs, and can be read; the kernel's own thread clocks are left to it.
bool goes_with_time(clockid_t clock) noexcept {
  return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

// A clock that is set meanwhile is noticed when the time would have come by the old setting.
int sleep_until(clockid_t clock, const timespec& time) noexcept {
  for (;;) {
    timespec now{};
    if (::clock_gettime(clock, &now) != 0) return errno;
    const bool reached = now.tv_sec > time.tv_sec || (now.tv_sec == time.tv_sec && now.tv_nsec >= time.tv_nsec);
    if (reached) return 0;
    if (!sleep_and_stay(deadline_after(time.tv_sec - now.tv_sec, time.tv_nsec - now.tv_nsec))) return ECANCELED;
  }
}

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_sleeps;  // See everything.cpp.
const char thrum_interposed_sleeps = 0;

int nanosleep(const timespec* time, timespec* left) {
  if (!calling_fiber() || !time || !is_time(*time)) [[likely]]
    return real::nanosleep(time, left);
  const kept_errno on_success;
  if (sleep_for(*time, left)) return on_success(0);
  errno = ECANCELED;
  return -1;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  if (!calling_fiber() || !time || !is_time(*time) || !goes_with_time(clock)) [[likely]]
    return real::clock_nanosleep(clock, flags, time, left);
  const int before = errno;
  int error = 0;
  if ((flags & TIMER_ABSTIME) != 0)
    error = sleep_until(clock, *time);
  else if (!sleep_for(*time, left))
    error = ECANCELED;
  errno = before;
  return error;
}

int usleep(useconds_t us) {
  if (!calling_fiber()) [[likely]]
    return real::usleep(us);
  const timespec time{.tv_sec = us / 1'000'000, .tv_nsec = us % 1'000'000 * 1000L};
  return nanosleep(&time, nullptr);
}

unsigned sleep(unsigned seconds) {
  if (!calling_fiber()) [[likely]]
    return real::sleep(seconds);
  const timespec time{.tv_sec = seconds, .tv_nsec = 0};
  timespec left{};
  if (nanosleep(&time, &left) == 0) return 0;
  return static_cast<unsigned>(left.tv_sec + (left.tv_nsec > 0 ? 1 : 0));
}

}  // extern "C"
