// Waiting for a child, and signals to it.
#include "process/child.hpp"

#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/socket_operation.hpp"
#include "os/errno.hpp"
#include "process/pipe_calls.hpp"

namespace thrum::detail {

bool reap_now(int pidfd) noexcept {
  siginfo_t info{};
  const auto id = static_cast<id_t>(pidfd);
  int result;
  do {
    result = ::waitid(P_PIDFD, id, &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  return result < 0 || info.si_pid != 0;  // An error: somebody else was faster.
}

struct child::looking {
  child* at;
  long operator()(int fd) const noexcept { return at->look(fd); }
};

long child::look(int fd) noexcept {
  if (ended_.load(std::memory_order_acquire) & known) return 0;
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(fd), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
    const bool told = os::error_number() == ECHILD && (ended_.load(std::memory_order_acquire) & known);
    return told ? 0 : -1;
  }
  if (info.si_pid == 0) {
    errno = EAGAIN;
    return -1;
  }
  const auto code = static_cast<std::uint32_t>(info.si_status) & 0xffff;
  ended_.store(known | (info.si_code == CLD_EXITED ? 0 : by_signal) | code, std::memory_order_release);
  return 0;
}

bool child::wait_for_end(std::int64_t deadline_ns, std::error_code& error) {
  return perform(direction::reading, error, looking{this}, deadline_ns) >= 0;
}

task<bool> child::async_wait_for_end(std::int64_t deadline_ns, std::error_code& error) {
  const long n = co_await async_perform(direction::reading, error, looking{this}, deadline_ns);
  co_return n >= 0;
}

exit_status child::status() const noexcept {
  const auto ended = ended_.load(std::memory_order_acquire);
  exit_status s;
  s.signaled_ = (ended & by_signal) != 0;
  s.code_ = static_cast<int>(ended & 0xffff);
  return s;
}

void child::reap() noexcept {
  std::lock_guard held(lock_);
  if (!reaped_) reaped_ = reap_now(native_handle());
}

void child::send(int signal, std::error_code& error) noexcept {
  error.clear();
  if (::syscall(SYS_pidfd_send_signal, native_handle(), signal, nullptr, 0) != 0) error = last_system_error();
}

void child::send_to_group(int signal, std::error_code& error) noexcept {
  error.clear();
  std::lock_guard held(lock_);
  if (!leads_group_)
    error = std::make_error_code(std::errc::invalid_argument);
  else if (reaped_)
    error = std::make_error_code(std::errc::no_such_process);
  else if (::kill(-id_, signal) != 0)
    error = last_system_error();
}

void child::send_to_all(int signal) noexcept {
  std::error_code ignored;  // It has ended.
  if (leads_group_)
    send_to_group(signal, ignored);
  else
    send(signal, ignored);
}

child::~child() {
  if (!is_open() || reaped_) return;
  send_to_all(SIGKILL);
  reap();
  if (!reaped_) reap_later(release());
}

}  // namespace thrum::detail
