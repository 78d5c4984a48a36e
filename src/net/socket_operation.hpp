// The loop of every operation: attempt, and wait when there is nothing to be had. Attempts come first: most reads and
// writes never wait (speculative calls).
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

#include "os/errno.hpp"
#include "sched/fd_watch.hpp"
#include "sched/wait.hpp"

namespace thrum::net {

// What an operation tells: the errno value, or 0; and how many bytes it has moved.
inline int failure_in(long n) noexcept { return n < 0 ? static_cast<int>(-n) : 0; }
inline std::size_t bytes_in(long n) noexcept { return n < 0 ? 0 : static_cast<std::size_t>(n); }

template <class Attempt>
long make_attempt(Attempt& attempt, int fd, std::uint64_t word_before) {
  if constexpr (std::is_invocable_v<Attempt&, int, std::uint64_t>)
    return attempt(fd, word_before);
  else
    return attempt(fd);
}

// A word read before there was a watch is zero, which this never confuses with one that an edge has changed.
inline void socket::not_ready(direction d, std::uint64_t before) noexcept {
  auto* watch = watch_.load(std::memory_order_acquire);
  if (watch) watch->not_ready(static_cast<sched::fd_watch::direction>(d), before);
}

// A generation counts only if the watch is still ours after it was read: closing takes the watch away first.
inline sched::found_watch socket::watch_for(sched::scheduler& home, int& failure) {
  auto* watch = watch_.load(std::memory_order_acquire);
  if (watch && watch->belongs_to(home)) {
    const sched::found_watch found{watch, watch->generation()};
    if (watch_.load(std::memory_order_acquire) == watch) return found;
  }
  return make_watch(home, failure);
}

// Inlined into each operation, all of whose cost beside the system call it is.
template <class Attempt>
[[gnu::always_inline]] inline long socket::attempt_once(direction d, Attempt& attempt, bool asks_kernel) {
  const auto side = static_cast<sched::fd_watch::direction>(d);
  for (;;) {
    auto* watch = asks_kernel ? nullptr : watch_.load(std::memory_order_acquire);
    const std::uint64_t before = watch ? watch->word(side) : 0;
    if (watch && !sched::fd_watch::may_be_ready(before)) return -EAGAIN;
    const use inside(*this);
    if (inside.fd() < 0) return -EBADF;
    const long n = make_attempt(attempt, inside.fd(), before);
    if (n >= 0) [[likely]]
      return n;
    const int failure = os::error_number();
    if (failure == EAGAIN) not_ready(d, before);
    if (failure != EINTR) return -failure;
  }
}

// The time of a read, or of an accept, is over. What came before that still counts, though the poller of a busy worker
// has not told of it yet: a last attempt sees it.
template <class Attempt>
long socket::attempt_late(Attempt& attempt) {
  const use inside(*this);
  if (inside.fd() < 0) return -EBADF;
  for (;;) {
    const long n = make_attempt(attempt, inside.fd(), 0);
    if (n >= 0) return n;
    const int failure = os::error_number();
    if (failure != EINTR) return failure == EAGAIN ? -ETIMEDOUT : -failure;
  }
}

template <class Attempt>
void socket::note_progress(wait_limit& l, const Attempt& attempt) noexcept {
  if constexpr (requires { attempt.done; })
    if (std::exchange(l.moved, attempt.done) != attempt.done) l.until_ns = 0;
}

template <class Attempt>
[[gnu::always_inline]] inline long socket::operate(const sched::begun_call& call, direction d, Attempt& attempt,
                                                   std::int64_t deadline_ns) {
  if (call.cancelled) [[unlikely]]
    return -ECANCELED;
  if (const int failure = why_unusable()) [[unlikely]]
    return -failure;
  // A plain thread trusts no watch: that may be of a runtime which has ended, and tells nothing new any more.
  const bool asks_kernel = call.who->kind() != sched::waiter_kind::fiber;
  wait_limit limit{deadline_ns};
  for (;;) {
    const long n = attempt_once(d, attempt, asks_kernel);
    if (n != -EAGAIN) return n;
    note_progress(limit, attempt);
    const int failure = wait_ready(call, d, limit);
    if (failure == 0) [[likely]]
      continue;
    return d == direction::reading && failure == ETIMEDOUT ? attempt_late(attempt) : -failure;
  }
}

template <class Attempt>
long socket::perform(direction d, std::error_code& error, Attempt attempt, std::int64_t deadline_ns) {
  const long n = operate(begin_call(), d, attempt, deadline_ns);
  return report(failure_in(n), error) ? n : -1;
}

// ---------------------------------------------------------------------------------------------------------------

// co_await tells 0, or why it failed: an errno value.
struct socket::readiness : detail::suspends_task {
  readiness(socket& s, direction d, std::int64_t deadline_ns = detail::never) noexcept
      : of(s), side(d), limit{deadline_ns} {}

  socket& of;
  const direction side;
  wait_limit limit;
  int failure = 0;
  sched::found_watch found{};
  sched::fd_watch::outcome outcome{};
  detail::async_wait wait{};
  detail::async_timer timer{};

  bool await_ready() { return of.begin_wait_ready(*this); }
  int await_resume() { return of.end_wait_ready(*this); }
};

template <class Attempt>
struct socket::async_operation : detail::suspends_task {
  async_operation(socket& s, direction d, Attempt a, std::int64_t until = detail::never)
      : wait(s, d, until), attempt(std::move(a)) {}

  readiness wait;
  Attempt attempt;
  long result = -EINPROGRESS;  // Until it has begun; -EAGAIN while it waits.

  bool await_ready() {
    if (result == -EINPROGRESS) {
      const auto& self = sched::begin_task_call(sched::cancellation::reported);
      const int failure = self.cancel_pending.load(std::memory_order_acquire) ? ECANCELED : wait.of.why_unusable();
      if (failure != 0) {
        result = -failure;
        return true;
      }
    }
    result = wait.of.attempt_once(wait.side, attempt);
    if (result != -EAGAIN) return sched::go_on();
    note_progress(wait.limit, attempt);
    return wait.await_ready();
  }
  bool await_resume() {
    if (result != -EAGAIN) return true;
    const int failure = wait.await_resume();
    if (failure == 0) return false;
    result = wait.side == direction::reading && failure == ETIMEDOUT ? wait.of.attempt_late(attempt) : -failure;
    return true;
  }
};

template <class Attempt>
task<long> socket::async_perform(direction d, std::error_code& error, Attempt attempt, std::int64_t deadline_ns) {
  async_operation operation{*this, d, std::move(attempt), deadline_ns};
  while (!co_await operation) {
  }
  const long n = operation.result;
  co_return report(failure_in(n), error) ? n : -1;
}

}  // namespace thrum::net
