// Waiting for descriptors: through the poller in a fiber, with poll(2) on a plain thread.
#include "net/socket_operation.hpp"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <stdexcept>

#include <poll.h>
#include <sys/epoll.h>

#include <thrum/cancelled.hpp>

#include "net/patience.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/scheduler.hpp"
#include "sched/task_wait.hpp"

namespace thrum::net {

int system::open_kernels_own(int family, int type) noexcept {
  if (own()) return static_cast<int>(not_simulated());
  return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int system::open_epoll() noexcept { return own() ? static_cast<int>(not_simulated()) : ::epoll_create1(EPOLL_CLOEXEC); }

namespace {

using sched::fd_watch;

fd_watch::direction internal(bool reading) noexcept { return reading ? fd_watch::reading : fd_watch::writing; }

bool poll_thread(int fd, bool reading, std::int64_t deadline_ns, std::error_code& error) {
  for (;;) {
    int ms = -1;
    if (deadline_ns != sched::never) {
      const auto left = std::max<std::int64_t>(deadline_ns - sched::now_ns(), 0);
      ms = static_cast<int>(std::min<std::int64_t>((left + 999'999) / 1'000'000, 1'000'000));
    }
    pollfd p{.fd = fd, .events = static_cast<short>(reading ? POLLIN : POLLOUT), .revents = 0};
    const int n = ::poll(&p, 1, ms);
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) {
      error.assign(errno, std::generic_category());
      return false;
    }
    if (n == 0 && sched::now_ns() >= deadline_ns) {
      error = std::make_error_code(std::errc::timed_out);
      return false;
    }
  }
}

bool is_ready(fd_watch::outcome o, std::error_code& error) noexcept {
  switch (o) {
    case fd_watch::outcome::ready:
      return true;
    case fd_watch::outcome::timed_out:
      error = std::make_error_code(std::errc::timed_out);
      break;
    case fd_watch::outcome::cancelled:
      error = std::make_error_code(std::errc::operation_canceled);
      break;
    case fd_watch::outcome::closed:
      error = std::make_error_code(std::errc::bad_file_descriptor);
      break;
  }
  return false;
}

}  // namespace

bool socket::begin(std::error_code& error) noexcept {
  error.clear();
  if (sched::begin_call().cancelled)
    error = std::make_error_code(std::errc::operation_canceled);
  else
    check_usable(error);
  return !error;
}

void socket::check_usable(std::error_code& error) const noexcept {
  if (fd_ < 0)
    error = std::make_error_code(std::errc::bad_file_descriptor);
  else if (deadline_ns_ != detail::never && sched::now_ns() >= deadline_ns_)
    error = std::make_error_code(std::errc::timed_out);
}

std::int64_t socket::wait_deadline_ns() const noexcept {
  if (timeout_ns_ == 0) return deadline_ns_;
  const auto now = sched::now_ns();
  return timeout_ns_ > detail::never - now ? deadline_ns_ : std::min(deadline_ns_, now + timeout_ns_);
}

// The reader and the writer may both be the first to wait.
fd_watch* socket::watch_for(sched::scheduler& home, std::error_code& error) {
  auto* watch = watch_.load(std::memory_order_acquire);
  if (watch && watch->belongs_to(home)) return watch;
  fd_watch* stale;  // Of a runtime before this one.
  {
    std::lock_guard held(watch_lock_);
    stale = watch_.load(std::memory_order_relaxed);
    if (stale && stale->belongs_to(home)) return stale;
    watch = nullptr;
    if (fd_ < 0) {  // Closed since the attempt.
      error = std::make_error_code(std::errc::bad_file_descriptor);
    } else {
      watch = fd_watch::create(fd_, errors_pass_ ? fd_watch::errors::pass : fd_watch::errors::end);
      if (!watch) error.assign(os::error_number(), std::generic_category());
    }
    watch_.store(watch, std::memory_order_release);
  }
  if (stale) stale->release();  // It may wait for the poller that had it.
  return watch;
}

bool socket::wait_ready(direction d, std::error_code& error, std::int64_t deadline_ns) {
  const bool reading = d == direction::reading;
  const auto deadline = std::min(wait_deadline_ns(), deadline_ns);
  auto* w = sched::this_worker();
  if (!w || !w->current()) return poll_thread(fd_, reading, deadline, error);
  auto* watch = watch_for(w->home, error);
  if (!watch) return false;
  return is_ready(watch->wait(internal(reading), deadline), error);
}

bool socket::async_begin(std::error_code& error) {
  error.clear();
  auto& self = sched::begin_task_call(sched::cancellation::reported);
  if (self.cancel_pending.load(std::memory_order_acquire))
    error = std::make_error_code(std::errc::operation_canceled);
  else
    check_usable(error);
  return !error;
}

bool socket::begin_wait_ready(readiness& r) {
  r.watch = watch_for(sched::this_worker()->home, r.error);
  if (!r.watch) return true;
  const auto deadline = std::min(wait_deadline_ns(), r.deadline_ns);
  return r.watch->begin_wait(internal(r.reading), r.wait, r.timer, deadline, r.outcome);
}

bool socket::end_wait_ready(readiness& r) {
  if (!r.watch) return false;
  if (r.wait.at == detail::async_wait::state::waiting)
    r.outcome = r.watch->end_wait(internal(r.reading), r.wait, r.timer);
  return is_ready(r.outcome, r.error);
}

// Throws where there is no poller, or none that takes the descriptor.
detail::select_clause socket::describe(direction d) {
  std::error_code error;
  auto* w = sched::this_worker();
  if (!w) throw std::logic_error("thrum: a select waits for descriptors in fibers and tasks only");
  if (fd_ < 0) throw std::system_error(std::make_error_code(std::errc::bad_file_descriptor), "thrum: select");
  auto* watch = watch_for(w->home, error);
  if (!watch) throw std::system_error(error, "thrum: select");
  const bool reading = d == direction::reading;
  return {.kind = detail::clause_kind::condition,
          .element = watch,
          .queue = &watch->queue(internal(reading)),
          .holds = reading ? &fd_watch::readable_or_closed : &fd_watch::writable_or_closed};
}

std::uint64_t socket::word(direction d) const noexcept {
  const auto* watch = watch_.load(std::memory_order_acquire);
  return watch ? watch->word(internal(d == direction::reading)) : 0;
}

void socket::not_ready(direction d, std::uint64_t before) noexcept {
  auto* watch = watch_.load(std::memory_order_acquire);
  // A word read before there was a watch is zero, which not_ready() never confuses with one that an edge has
  // changed.
  if (watch) watch->not_ready(internal(d == direction::reading), before);
}

bool socket::known_not_ready(direction d) const noexcept {
  const auto* watch = watch_.load(std::memory_order_acquire);
  return watch && !watch->may_be_ready(internal(d == direction::reading));
}

// Releasing the watch may take a while. From its beginning on nobody may make another one.
void socket::close() noexcept {
  if (fd_ < 0) return;
  fd_watch* watch;
  int fd;
  {
    std::lock_guard held(watch_lock_);
    watch = watch_.exchange(nullptr);
    fd = std::exchange(fd_, -1);
  }
  if (watch) {
    watch->close();
    watch->release();
  }
  system::close(fd);
  descriptor_freed();
}

void socket::raise(const std::error_code& error, const char* what) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, what);
}

}  // namespace thrum::net
