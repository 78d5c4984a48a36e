// Locks of files, and opening fifos, as libc exports them: a thread of a pool waits where there is something to wait
// for. The kernel tells of neither otherwise.
#include <cerrno>
#include <cstdarg>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interpose/fiber_call.hpp"

using namespace thrum;
using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

// attempt(waits): the call that waits, or its twin that fails with EAGAIN (for a fcntl lock also EACCES) instead.
template <class Attempt>
int locked(Attempt attempt) noexcept {
  const kept_errno on_success;
  const int r = attempt(false);
  if (r >= 0 || (errno != EAGAIN && errno != EACCES)) return on_success(r);
  return on_success(made_elsewhere(detail::the_waiting_pool(), [&] { return attempt(true); }));
}

// The twin of a command that waits for a lock; 0: it is none.
int without_waiting(int command) noexcept {
  if (command == F_SETLKW) return F_SETLK;
  if (command == F_OFD_SETLKW) return F_OFD_SETLK;
  return 0;
}

int fcntl_of_anybody(int fd, int command, void* argument) noexcept {
  const int twin = without_waiting(command);
  if (twin == 0 || !calling_fiber()) [[likely]]
    return real::fcntl(fd, command, argument);
  return locked([&](bool waits) { return real::fcntl(fd, waits ? command : twin, argument); });
}

// A fifo that is opened for one direction waits for somebody who opens it for the other.
bool may_wait(int directory, const char* path, int flags) noexcept {
  if ((flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) != 0 || (flags & O_ACCMODE) == O_RDWR) return false;
  struct stat about {};
  const int error = errno;
  const bool fifo = ::fstatat(directory, path, &about, 0) == 0 && S_ISFIFO(about.st_mode);
  errno = error;
  return fifo;
}

int open_by_anybody(int directory, const char* path, int flags, mode_t mode) noexcept {
  if (!calling_fiber() || !may_wait(directory, path, flags)) [[likely]]
    return real::openat(directory, path, flags, mode);
  return made_elsewhere(detail::the_waiting_pool(), [&] { return real::openat(directory, path, flags, mode); });
}

// What follows the flags; libc reads it only where it creates a file, too.
#define THRUM_MODE_AFTER(flags)                                \
  mode_t mode = 0;                                             \
  if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
    va_list all;                                               \
    va_start(all, flags);                                      \
    mode = va_arg(all, mode_t);                                \
    va_end(all);                                               \
  }

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_locks;  // See everything.cpp.
const char thrum_interposed_locks = 0;

int flock(int fd, int operation) noexcept {
  if ((operation & (LOCK_NB | LOCK_UN)) || !calling_fiber()) [[likely]]
    return real::flock(fd, operation);
  return locked([&](bool waits) { return real::flock(fd, waits ? operation : operation | LOCK_NB); });
}

int lockf(int fd, int operation, off_t size) {
  if (operation != F_LOCK || !calling_fiber()) [[likely]]
    return real::lockf(fd, operation, size);
  return locked([&](bool waits) { return real::lockf(fd, waits ? F_LOCK : F_TLOCK, size); });
}
int lockf64(int fd, int operation, off64_t size) { return lockf(fd, operation, size); }

// The argument is a number, a pointer or nothing, which are passed alike.
int fcntl(int fd, int command, ...) {
  va_list all;
  va_start(all, command);
  void* const argument = va_arg(all, void*);
  va_end(all);
  return fcntl_of_anybody(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
  va_list all;
  va_start(all, command);
  void* const argument = va_arg(all, void*);
  va_end(all);
  return fcntl_of_anybody(fd, command, argument);
}

int open(const char* path, int flags, ...) {
  THRUM_MODE_AFTER(flags)
  return open_by_anybody(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  THRUM_MODE_AFTER(flags)
  return open_by_anybody(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  THRUM_MODE_AFTER(flags)
  return open_by_anybody(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  THRUM_MODE_AFTER(flags)
  return open_by_anybody(directory, path, flags, mode);
}

// The fortified twins: no file is created, so there is no mode.
int __open_2(const char* path, int flags) { return open_by_anybody(AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags) { return open_by_anybody(AT_FDCWD, path, flags, 0); }
int __openat_2(int directory, const char* path, int flags) { return open_by_anybody(directory, path, flags, 0); }
int __openat64_2(int directory, const char* path, int flags) { return open_by_anybody(directory, path, flags, 0); }

}  // extern "C"
