// Waiting for children, and for disks, as libc exports it.
//
// A child that is named is awaited through a pidfd. Whoever waits for any of several, or for one to be stopped, blocks
// a thread of a pool.
#include <cerrno>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interpose/fiber_call.hpp"

using namespace thrum;
using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

// attempt(at_once) is 0 if there is no news yet, which it must not wait for if `at_once`.
template <class Attempt>
int await_child(const sched::scheduler& home, int pidfd, Attempt attempt) noexcept {
  fiber_call call(home, pidfd, purpose::reading, 0);
  return static_cast<int>(call.repeat([&](int flags) -> ssize_t {
    const int r = attempt(flags != 0);
    if (r != 0) return r;
    errno = EAGAIN;
    return -1;
  }));
}

int open_pidfd(pid_t pid) noexcept {
#ifdef SYS_pidfd_open
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
#else
  errno = ENOSYS;
  return -1;
#endif
}

template <class Attempt>
int await_child_by_number(const sched::scheduler& home, pid_t pid, Attempt attempt) noexcept {
  if (const int r = attempt(true); r != 0) return r;
  const int pidfd = open_pidfd(pid);
  if (pidfd < 0) return attempt(false);
  const int r = await_child(home, pidfd, attempt);
  const int error = errno;
  forget_descriptor(pidfd);
  real::close(pidfd);
  errno = error;
  return r;
}

// 1: there is news. `info` is left alone if there is none.
int ask(idtype_t type, id_t id, siginfo_t* info, int options) noexcept {
  siginfo_t news{};
  const int r = real::waitid(type, id, &news, options);
  if (r < 0) return r;
  if (news.si_pid == 0) return 0;
  if (info) *info = news;
  return 1;
}

int fiber_waitid(const sched::scheduler& home, idtype_t type, id_t id, siginfo_t* info, int options) noexcept {
  const auto attempt = [&](bool at_once) { return ask(type, id, info, at_once ? options | WNOHANG : options); };
  if (type == P_PID) return await_child_by_number(home, static_cast<pid_t>(id), attempt);
  const int pidfd = static_cast<int>(id);
  return does_not_block(pidfd) ? attempt(false) : await_child(home, pidfd, attempt);
}

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_processes;  // See everything.cpp.
const char thrum_interposed_processes = 0;

pid_t waitpid(pid_t pid, int* status, int options) {
  const auto* home = calling_fiber();
  if (!home || (options & WNOHANG)) [[likely]]
    return real::waitpid(pid, status, options);
  if (pid <= 0 || options != 0)
    return made_elsewhere(detail::the_waiting_pool(), [&] { return real::waitpid(pid, status, options); });
  const kept_errno on_success;
  return on_success(await_child_by_number(
      *home, pid, [&](bool at_once) { return real::waitpid(pid, status, at_once ? WNOHANG : 0); }));
}

pid_t wait4(pid_t pid, int* status, int options, rusage* usage) {
  if (!calling_fiber() || (options & WNOHANG)) [[likely]]
    return real::wait4(pid, status, options, usage);
  return made_elsewhere(detail::the_waiting_pool(), [&] { return real::wait4(pid, status, options, usage); });
}

pid_t wait3(int* status, int options, rusage* usage) { return wait4(-1, status, options, usage); }

pid_t wait(int* status) { return wait4(-1, status, 0, nullptr); }

int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  const auto* home = calling_fiber();
  const bool named = (type == P_PID || type == P_PIDFD) && (options & ~WNOWAIT) == WEXITED;
  if (!home || (options & WNOHANG)) [[likely]]
    return real::waitid(type, id, info, options);
  if (!named) return made_elsewhere(detail::the_waiting_pool(), [&] { return real::waitid(type, id, info, options); });
  const kept_errno on_success;
  const int r = fiber_waitid(*home, type, id, info, options);
  return on_success(r > 0 ? 0 : r);
}

int fsync(int fd) {
  if (!calling_fiber()) [[likely]]
    return real::fsync(fd);
  return made_elsewhere(detail::the_offload_pool(), [&] { return real::fsync(fd); });
}

int fdatasync(int fd) {
  if (!calling_fiber()) [[likely]]
    return real::fdatasync(fd);
  return made_elsewhere(detail::the_offload_pool(), [&] { return real::fdatasync(fd); });
}

}  // extern "C"
