// Holding SIGPIPE back around a call.
#include "net/quiet_call.hpp"

#include <cerrno>
#include <ctime>

#include <pthread.h>

#include "os/errno.hpp"
#include "sched/self.hpp"

namespace thrum::net {
namespace {

sigset_t only_sigpipe() noexcept {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGPIPE);
  return s;
}

void take_sigpipe() noexcept {
  const auto sigpipe = only_sigpipe();
  const timespec at_once{};
  while (::sigtimedwait(&sigpipe, nullptr, &at_once) < 0 && errno == EINTR) {
  }
}

bool sigpipe_is_pending() noexcept {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

}  // namespace

sigpipe_held_back::sigpipe_held_back() noexcept : on_worker_(sched::this_worker() != nullptr) {
  if (on_worker_) return;
  const auto sigpipe = only_sigpipe();
  ::pthread_sigmask(SIG_BLOCK, &sigpipe, &before_);
  theirs_ = sigismember(&before_, SIGPIPE) == 1 && sigpipe_is_pending();
}

long sigpipe_held_back::result(long n) noexcept {
  const int failure = n < 0 ? os::error_number() : 0;
  if (failure == EPIPE && !theirs_) take_sigpipe();
  if (!on_worker_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  if (n < 0) os::set_error_number(failure);
  return n;
}

}  // namespace thrum::net
