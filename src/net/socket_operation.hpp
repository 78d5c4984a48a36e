// The loop of every operation: attempt, and wait when there is nothing to be had. Attempts come first: most reads and
// writes never wait (speculative calls).
#pragma once

#include <cerrno>
#include <optional>
#include <system_error>

#include <thrum/detail/async.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

#include "os/errno.hpp"
#include "sched/fd_watch.hpp"

namespace thrum::net {

template <class Attempt>
std::optional<long> socket::attempt_once(direction d, std::error_code& error, Attempt& attempt) {
  while (!known_not_ready(d)) {
    const auto before = word(d);
    const long n = attempt();
    if (n >= 0) return n;
    const int failure = os::error_number();
    if (failure == EINTR) continue;
    if (failure != EAGAIN) {
      error.assign(failure, std::generic_category());
      return -1;
    }
    not_ready(d, before);
    break;
  }
  return {};
}

// The time of a read, or of an accept, is over. What came before that still counts, though the poller of a busy worker
// has not told of it yet: a last attempt sees it.
template <class Attempt>
long socket::attempt_late(std::error_code& error, Attempt& attempt) {
  for (;;) {
    const long n = attempt();
    if (n >= 0) {
      error.clear();
      return n;
    }
    const int failure = os::error_number();
    if (failure == EINTR) continue;
    if (failure != EAGAIN) error.assign(failure, std::generic_category());
    return -1;
  }
}

template <class Attempt>
long socket::perform(direction d, std::error_code& error, Attempt attempt, std::int64_t deadline_ns) {
  if (!begin(error)) return -1;
  for (;;) {
    if (const auto n = attempt_once(d, error, attempt)) return *n;
    if (wait_ready(d, error, deadline_ns)) continue;
    return d == direction::reading && error == std::errc::timed_out ? attempt_late(error, attempt) : -1;
  }
}

// One wait of a task for a direction.
struct socket::readiness : detail::suspends_task {
  readiness(socket& s, bool reads, std::error_code& e, std::int64_t until = detail::never) noexcept
      : of(s), reading(reads), error(e), deadline_ns(until) {}

  socket& of;
  const bool reading;
  std::error_code& error;
  const std::int64_t deadline_ns;
  sched::fd_watch* watch = nullptr;
  sched::fd_watch::outcome outcome{};
  detail::async_wait wait{};
  detail::async_timer timer{};

  bool await_ready() { return of.begin_wait_ready(*this); }
  bool await_resume() { return of.end_wait_ready(*this); }
};

template <class Attempt>
task<long> socket::async_perform(direction d, std::error_code& error, Attempt attempt, std::int64_t deadline_ns) {
  if (!async_begin(error)) co_return -1;
  for (;;) {
    if (const auto n = attempt_once(d, error, attempt)) co_return *n;
    readiness wait{*this, d == direction::reading, error, deadline_ns};
    if (co_await wait) continue;
    co_return d == direction::reading&& error == std::errc::timed_out ? attempt_late(error, attempt) : -1;
  }
}

}  // namespace thrum::net
