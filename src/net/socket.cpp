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

namespace {

using sched::fd_watch;

int poll_thread(int fd, bool reading, std::int64_t deadline_ns) noexcept {
  for (;;) {
    int ms = -1;
    if (deadline_ns != sched::never) {
      const auto left = std::max<std::int64_t>(deadline_ns - sched::now_ns(), 0);
      ms = static_cast<int>(std::min<std::int64_t>((left + 999'999) / 1'000'000, 1'000'000));
    }
    pollfd p{.fd = fd, .events = static_cast<short>(reading ? POLLIN : POLLOUT), .revents = 0};
    const int n = ::poll(&p, 1, ms);
    if (n > 0) return 0;
    if (n < 0 && errno != EINTR) return errno;
    if (n == 0 && sched::now_ns() >= deadline_ns) return ETIMEDOUT;
  }
}

int failure_of(fd_watch::outcome o) noexcept {
  switch (o) {
    case fd_watch::outcome::ready:
      return 0;
    case fd_watch::outcome::timed_out:
      return ETIMEDOUT;
    case fd_watch::outcome::cancelled:
      return ECANCELED;
    case fd_watch::outcome::closed:
      break;
  }
  return EBADF;
}

}  // namespace

bool socket::report(int failure, std::error_code& error) noexcept {
  if (failure == 0)
    error.clear();
  else
    error.assign(failure, std::generic_category());
  return failure == 0;
}

sched::begun_call socket::begin_call() noexcept { return sched::begin_call(); }

bool socket::begin(std::error_code& error) noexcept {
  return report(sched::begin_call().cancelled ? ECANCELED : why_unusable(), error);
}

bool socket::async_begin(std::error_code& error) {
  const auto& self = sched::begin_task_call(sched::cancellation::reported);
  return report(self.cancel_pending.load(std::memory_order_acquire) ? ECANCELED : why_unusable(), error);
}

int socket::why_unusable() const noexcept {
  if (!is_open()) return EBADF;
  return deadline_ns_ != detail::never && sched::now_ns() >= deadline_ns_ ? ETIMEDOUT : 0;
}

std::int64_t socket::wait_deadline_ns() const noexcept {
  if (timeout_ns_ == 0) return deadline_ns_;
  const auto now = sched::now_ns();
  return timeout_ns_ > detail::never - now ? deadline_ns_ : std::min(deadline_ns_, now + timeout_ns_);
}

// The reader and the writer may both be the first to wait.
sched::found_watch socket::make_watch(sched::scheduler& home, int& failure) {
  sched::found_watch found;
  fd_watch* stale;  // Of a runtime before this one.
  {
    std::lock_guard held(watch_lock_);
    if (!is_open()) {  // Closed since the attempt.
      failure = EBADF;
      return {};
    }
    stale = watch_.load(std::memory_order_relaxed);
    if (stale && stale->belongs_to(home)) return {stale, stale->generation()};
    found.watch = fd_watch::create(native_handle(), errors_pass_ ? fd_watch::errors::pass : fd_watch::errors::end);
    if (found)
      found.generation = found.watch->generation();
    else
      failure = os::error_number();
    watch_.store(found.watch, std::memory_order_release);
  }
  if (stale) stale->release();  // It may wait for the poller that had it.
  return found;
}

bool socket::begin_or_go_on(wait_limit& l) const noexcept {
  if (l.until_ns != 0) return l.until_ns == detail::never || sched::now_ns() < l.until_ns;
  l.until_ns = std::min(wait_deadline_ns(), l.own_deadline_ns);
  return true;
}

int socket::wait_ready(const sched::begun_call& call, direction d, wait_limit& l) {
  if (!begin_or_go_on(l)) return ETIMEDOUT;
  if (call.who->kind() != sched::waiter_kind::fiber)
    return poll_thread(native_handle(), d == direction::reading, l.until_ns);
  int failure = 0;
  const auto found = watch_for(sched::this_worker()->home, failure);
  if (!found) return failure;
  return failure_of(found.watch->wait(call, static_cast<fd_watch::direction>(d), l.until_ns, found.generation));
}

bool socket::wait_ready(direction d, std::error_code& error, wait_limit& l) {
  const auto call = sched::begin_call();
  return report(call.cancelled ? ECANCELED : wait_ready(call, d, l), error);
}

bool socket::wait_ready(direction d, std::error_code& error) {
  wait_limit l;
  return wait_ready(d, error, l);
}

bool socket::begin_wait_ready(readiness& r) {
  r.wait.at = detail::async_wait::state::satisfied;  // It may wait for the second time.
  r.found = {};
  r.failure = ETIMEDOUT;
  if (!begin_or_go_on(r.limit)) return true;
  r.found = watch_for(sched::this_worker()->home, r.failure);
  if (!r.found) return true;
  return r.found.watch->begin_wait(static_cast<fd_watch::direction>(r.side), r.wait, r.timer, r.limit.until_ns,
                                   r.found.generation, r.outcome);
}

int socket::end_wait_ready(readiness& r) {
  if (!r.found) return r.failure;
  if (r.wait.at == detail::async_wait::state::waiting)
    r.outcome = r.found.watch->end_wait(static_cast<fd_watch::direction>(r.side), r.wait, r.timer);
  return failure_of(r.outcome);
}

// Throws where there is no poller, or none that takes the descriptor.
detail::select_clause socket::describe(direction d) {
  auto* w = sched::this_worker();
  if (!w) throw std::logic_error("thrum: a select waits for descriptors in fibers and tasks only");
  int failure = 0;
  const auto found = watch_for(w->home, failure);
  if (!found) throw std::system_error(failure, std::generic_category(), "thrum: select");
  return {.kind = detail::clause_kind::condition,
          .element = reinterpret_cast<void*>(static_cast<std::uintptr_t>(found.packed())),
          .queue = &found.watch->queue(static_cast<fd_watch::direction>(d)),
          .holds = d == direction::reading ? &fd_watch::readable_or_closed : &fd_watch::writable_or_closed};
}

std::uint64_t socket::word(direction d) const noexcept {
  const auto* watch = watch_.load(std::memory_order_acquire);
  return watch ? watch->word(static_cast<fd_watch::direction>(d)) : 0;
}

bool socket::known_not_ready(direction d) const noexcept {
  const auto* watch = watch_.load(std::memory_order_acquire);
  return watch && !watch->may_be_ready(static_cast<fd_watch::direction>(d));
}

// Once it counts as closed nobody makes a watch any more, or enters; who is inside keeps both the watch and the number.
void socket::close() noexcept {
  if (!is_open()) return;
  {
    std::lock_guard held(watch_lock_);
    if (!descriptor_.close()) return;
  }
  if (auto* watch = watch_.load(std::memory_order_acquire)) watch->close();
  if (descriptor_.leave()) finish_closing();
}

void socket::finish_closing() noexcept {
  if (auto* watch = watch_.exchange(nullptr)) watch->release();
  system::close(descriptor_.closed_number());
  descriptor_freed();
}

// The registration stays with the poller until the descriptor is closed; the watch's generation makes it void.
int socket::release() noexcept {
  if (auto* watch = watch_.exchange(nullptr)) {
    watch->close();
    watch->release();
  }
  const int fd = native_handle();
  if (descriptor_.close()) (void)descriptor_.leave();
  return fd;
}

void socket::raise(const std::error_code& error, const char* what) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, what);
}

void socket::raise(int failure, const char* what) { raise(std::error_code(failure, std::generic_category()), what); }

}  // namespace thrum::net
