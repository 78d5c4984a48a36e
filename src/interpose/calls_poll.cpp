// poll, select, epoll_wait and their relatives, as libc exports them.
//
// A signal mask is not set while a fiber waits: asynchronous signals are blocked on the threads that run fibers, and no
// wait of a fiber ends with EINTR.
#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

#include <sys/epoll.h>
#include <sys/select.h>

#include "interpose/fiber_call.hpp"
#include "sched/seams.hpp"

using namespace thrum;
using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

std::int64_t deadline_of(const timespec* t) noexcept {
  return t ? deadline_after(t->tv_sec, t->tv_nsec) : sched::never;
}

// Null: as long as it takes.
bool may_wait(const timespec* t) noexcept { return !t || (is_time(*t) && (t->tv_sec > 0 || t->tv_nsec > 0)); }

// For the kernel, which waits in milliseconds: what is left, rounded up.
int ms_until(std::int64_t deadline_ns) noexcept {
  if (deadline_ns == sched::never) return -1;
  return static_cast<int>(std::min<std::int64_t>((time_left(deadline_ns) + 999'999) / 1'000'000, INT_MAX));
}

// look() is the call that does not wait, and says 0 when there is nothing; wait() waits until it is worth another look;
// block(deadline) is the call as the kernel makes it, if nothing else helps.
template <class Look, class Wait, class Block>
int look_again(Look look, Wait wait, Block block) noexcept {
  for (bool late = false;;) {
    const int n = look();
    if (n != 0 || late) return n;
    switch (wait()) {
      case outcome::look:
        break;
      case outcome::timed_out:
        late = true;
        break;
      case outcome::cancelled:
        errno = ECANCELED;
        return -1;
      case outcome::closed:
        errno = EBADF;
        return -1;
      case outcome::kernel:
        return block();
    }
  }
}

template <class Call>
int until_not_interrupted(Call call) noexcept {
  for (;;) {
    const int n = call();
    if (n >= 0 || errno != EINTR) return n;
  }
}

outcome only_sleep(std::int64_t deadline_ns) noexcept {
  return sleep_and_stay(deadline_ns) ? outcome::timed_out : outcome::cancelled;
}

// ---------------------------------------------------------------------------------------------------------------
// poll.

// Nothing but these is asked for. Errors and the end are told in any case; libpq asks for them too.
bool only(const pollfd& one, int events) noexcept {
  const int asked = one.events & ~(POLLERR | POLLHUP | POLLNVAL);
  return asked != 0 && (asked & ~events) == 0;
}

int poll_one(const sched::scheduler& home, pollfd* fds, nfds_t n, pollfd& one, purpose p,
             std::int64_t deadline_ns) noexcept {
  patience waits(home, one.fd, p);
  const auto asked = static_cast<unsigned short>(one.events);
  bool first = true;
  const auto look = [&] {
    if (std::exchange(first, false) && waits.may_spare_attempt()) return 0;
    if (const unsigned told = waits.told() & (asked | POLLERR | POLLHUP); told != 0 && n == 1) {
      one.revents = static_cast<short>(told);
      return 1;
    }
    waits.before_attempt();
    const int found = real::poll(fds, n, 0);
    waits.note_hopeless(found == 0);
    return found;
  };
  const auto block = [&] { return until_not_interrupted([&] { return real::poll(fds, n, ms_until(deadline_ns)); }); };
  bool closed = false;
  const int found = look_again(
      look,
      [&] {
        const auto how = waits.wait(deadline_ns, asked);
        closed = how == outcome::closed;
        return how;
      },
      block);
  if (!closed) return found;
  one.revents = POLLNVAL;
  return 1;
}

// Of several descriptors, or of one for both directions. for_each(f) calls f(pollfd) until that says false.
template <class Look, class Block>
int wait_for_any(const sched::scheduler& home, const pollfd* all, nfds_t n, std::int64_t deadline_ns, Look look,
                 Block block) noexcept {
  const auto* first = std::find_if(all, all + n, [](const pollfd& p) { return p.fd >= 0; });
  patience waits(home, first->fd, purpose::several);
  bool looking = false;
  const int found = look_again(
      [&] {
        waits.before_attempt();
        return look();
      },
      [&] {
        for (nfds_t i = 0; !looking && i < n; ++i)
          if (!waits.look_at(all[i])) return outcome::kernel;
        looking = true;
        return waits.wait_for_several(deadline_ns);
      },
      block);
  const kept_errno before;
  waits.look_away(all, n);
  before(0);
  return found;
}

int fiber_poll(const sched::scheduler& home, pollfd* fds, nfds_t n, std::int64_t deadline_ns) noexcept {
  const kept_errno on_success;
  const auto valid = [](const pollfd& p) { return p.fd >= 0; };
  const auto count = std::count_if(fds, fds + n, valid);
  if (count == 1) {
    pollfd& one = *std::find_if(fds, fds + n, valid);
    if (only(one, POLLIN | POLLRDNORM | POLLRDHUP))
      return on_success(poll_one(home, fds, n, one, purpose::reading, deadline_ns));
    if (only(one, POLLOUT | POLLWRNORM)) return on_success(poll_one(home, fds, n, one, purpose::writing, deadline_ns));
  }
  const int at_once = real::poll(fds, n, 0);
  if (at_once != 0) return on_success(at_once);
  if (count == 0)
    return on_success(look_again([] { return 0; }, [&] { return only_sleep(deadline_ns); }, [] { return 0; }));
  return on_success(wait_for_any(
      home, fds, n, deadline_ns, [&] { return real::poll(fds, n, 0); },
      [&] { return until_not_interrupted([&] { return real::poll(fds, n, ms_until(deadline_ns)); }); }));
}

// ---------------------------------------------------------------------------------------------------------------
// select: what is asked for, as the kernel's calls want it, and as a list for waiting.

struct selected {
  int n;
  fd_set* sets[3];  // To read, to write, exceptions. Null: not asked for.
  fd_set asked[3];

  selected(int n, fd_set* r, fd_set* w, fd_set* e) noexcept : n(n), sets{r, w, e} {
    for (int i = 0; i < 3; ++i)
      if (sets[i]) asked[i] = *sets[i];
  }
  void restore() noexcept {
    for (int i = 0; i < 3; ++i)
      if (sets[i]) *sets[i] = asked[i];
  }
  int look(const timespec* time) noexcept {
    restore();
    return real::pselect(n, sets[0], sets[1], sets[2], time, nullptr);
  }
  // All that are asked for; how many.
  nfds_t list(pollfd* out) const noexcept {
    static constexpr short meaning[3] = {POLLIN | POLLRDHUP, POLLOUT, POLLPRI};
    nfds_t found = 0;
    for (int fd = 0; fd < n; ++fd) {
      short events = 0;
      for (int i = 0; i < 3; ++i)
        if (sets[i] && FD_ISSET(fd, &asked[i])) events = static_cast<short>(events | meaning[i]);
      if (events != 0) out[found++] = {.fd = fd, .events = events, .revents = 0};
    }
    return found;
  }
};

int fiber_select(const sched::scheduler& home, selected& s, std::int64_t deadline_ns) noexcept {
  static constexpr timespec at_once{};
  const kept_errno on_success;
  if (const int n = s.look(&at_once)) return on_success(n);
  s.restore();
  pollfd all[FD_SETSIZE];
  const nfds_t n = s.list(all);
  if (n == 0)
    return on_success(look_again([] { return 0; }, [&] { return only_sleep(deadline_ns); }, [] { return 0; }));
  return on_success(wait_for_any(
      home, all, n, deadline_ns, [&] { return s.look(&at_once); },
      [&] {
        return until_not_interrupted([&] {
          const int ms = ms_until(deadline_ns);
          const timespec time{.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000L};
          return s.look(ms < 0 ? nullptr : &time);
        });
      }));
}

// ---------------------------------------------------------------------------------------------------------------
// epoll_wait: an epoll instance is a descriptor that becomes readable.

template <class Look>
int fiber_epoll_wait(const sched::scheduler& home, int fd, std::int64_t deadline_ns, Look look) noexcept {
  const kept_errno on_success;
  patience waits(home, fd, purpose::reading);
  return on_success(look_again(
      [&] {
        waits.before_attempt();
        return look(0);
      },
      [&] { return waits.wait(deadline_ns); },
      [&] { return until_not_interrupted([&] { return look(ms_until(deadline_ns)); }); }));
}

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_polls;  // See everything.cpp.
const char thrum_interposed_polls = 0;

[[noreturn]] void __chk_fail() noexcept;

int poll(pollfd* fds, nfds_t n, int ms) {
  const auto* home = calling_fiber();
  if (!home || ms == 0) [[likely]]
    return real::poll(fds, n, ms);
  return fiber_poll(*home, fds, n, deadline_after_ms(ms));
}

int ppoll(pollfd* fds, nfds_t n, const timespec* time, const sigset_t* mask) {
  const auto* home = calling_fiber();
  if (!home || !may_wait(time)) [[likely]]
    return real::ppoll(fds, n, time, mask);
  return fiber_poll(*home, fds, n, deadline_of(time));
}

int select(int n, fd_set* r, fd_set* w, fd_set* e, timeval* time) {
  const auto* home = calling_fiber();
  const bool waits = !time || (time->tv_sec >= 0 && time->tv_usec >= 0 && (time->tv_sec > 0 || time->tv_usec > 0));
  if (!home || !waits || n < 0 || n > FD_SETSIZE) [[likely]]
    return real::select(n, r, w, e, time);
  selected s(n, r, w, e);
  const auto deadline = time ? deadline_after(time->tv_sec, time->tv_usec * 1000LL) : sched::never;
  const int found = fiber_select(*home, s, deadline);
  if (time && deadline != sched::never) {  // As Linux does: what is left.
    const auto left = time_left(deadline);
    *time = {.tv_sec = left / 1'000'000'000, .tv_usec = left % 1'000'000'000 / 1000};
  }
  return found;
}

int pselect(int n, fd_set* r, fd_set* w, fd_set* e, const timespec* time, const sigset_t* mask) {
  const auto* home = calling_fiber();
  if (!home || !may_wait(time) || n < 0 || n > FD_SETSIZE) [[likely]]
    return real::pselect(n, r, w, e, time, mask);
  selected s(n, r, w, e);
  return fiber_select(*home, s, deadline_of(time));
}

int epoll_wait(int fd, epoll_event* events, int n, int ms) {
  const auto* home = calling_fiber();
  if (!home || ms == 0) [[likely]]
    return real::epoll_wait(fd, events, n, ms);
  return fiber_epoll_wait(*home, fd, deadline_after_ms(ms), [&](int t) { return real::epoll_wait(fd, events, n, t); });
}

int epoll_pwait(int fd, epoll_event* events, int n, int ms, const sigset_t* mask) {
  if (!calling_fiber() || ms == 0) [[likely]]
    return real::epoll_pwait(fd, events, n, ms, mask);
  return epoll_wait(fd, events, n, ms);
}

int epoll_pwait2(int fd, epoll_event* events, int n, const timespec* time, const sigset_t* mask) {
  const auto* home = calling_fiber();
  if (!home || !may_wait(time)) [[likely]]
    return real::epoll_pwait2(fd, events, n, time, mask);
  return fiber_epoll_wait(*home, fd, deadline_of(time), [&](int t) { return real::epoll_wait(fd, events, n, t); });
}

int __poll_chk(pollfd* fds, nfds_t n, int ms, size_t room) {
  if (room / sizeof *fds < n) __chk_fail();
  return poll(fds, n, ms);
}

int __ppoll_chk(pollfd* fds, nfds_t n, const timespec* time, const sigset_t* mask, size_t room) {
  if (room / sizeof *fds < n) __chk_fail();
  return ppoll(fds, n, time, mask);
}

}  // extern "C"
