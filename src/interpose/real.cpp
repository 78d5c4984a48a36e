// Finding the next definitions, and the system calls beneath them.
#include "interpose/real.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "base/sanitizers.hpp"

namespace thrum::interpose {
namespace {

// Never carried across a wait: nothing that dlsym calls waits.
[[gnu::tls_model("initial-exec")]] thread_local bool looking = false;

template <class Result = long, class... Arguments>
Result system_call(long number, Arguments... arguments) noexcept {
  return static_cast<Result>(::syscall(number, arguments...));
}

constexpr std::size_t kernel_mask_size = 8;  // Of the kernel's sigset_t.

timespec from_ms(int ms) noexcept { return {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000L}; }

namespace bare {

ssize_t read(int fd, void* data, size_t n) { return system_call(SYS_read, fd, data, n); }
ssize_t write(int fd, const void* data, size_t n) { return system_call(SYS_write, fd, data, n); }
ssize_t readv(int fd, const iovec* v, int n) { return system_call(SYS_readv, fd, v, n); }
ssize_t writev(int fd, const iovec* v, int n) { return system_call(SYS_writev, fd, v, n); }
ssize_t recvfrom(int fd, void* data, size_t n, int flags, sockaddr* from, socklen_t* length) {
  return system_call(SYS_recvfrom, fd, data, n, flags, from, length);
}
ssize_t recv(int fd, void* data, size_t n, int flags) { return recvfrom(fd, data, n, flags, nullptr, nullptr); }
ssize_t recvmsg(int fd, msghdr* m, int flags) { return system_call(SYS_recvmsg, fd, m, flags); }
int recvmmsg(int fd, mmsghdr* m, unsigned n, int flags, timespec* t) {
  return system_call<int>(SYS_recvmmsg, fd, m, n, flags, t);
}
ssize_t sendto(int fd, const void* data, size_t n, int flags, const sockaddr* to, socklen_t length) {
  return system_call(SYS_sendto, fd, data, n, flags, to, length);
}
ssize_t send(int fd, const void* data, size_t n, int flags) { return sendto(fd, data, n, flags, nullptr, 0); }
ssize_t sendmsg(int fd, const msghdr* m, int flags) { return system_call(SYS_sendmsg, fd, m, flags); }
int sendmmsg(int fd, mmsghdr* m, unsigned n, int flags) { return system_call<int>(SYS_sendmmsg, fd, m, n, flags); }
int accept4(int fd, sockaddr* peer, socklen_t* length, int flags) {
  return system_call<int>(SYS_accept4, fd, peer, length, flags);
}
int accept(int fd, sockaddr* peer, socklen_t* length) { return bare::accept4(fd, peer, length, 0); }
int connect(int fd, const sockaddr* peer, socklen_t length) { return system_call<int>(SYS_connect, fd, peer, length); }
// The kernel changes the time that it is given.
int ppoll(pollfd* fds, nfds_t n, const timespec* time, const sigset_t* mask) {
  timespec t = time ? *time : timespec{};
  return system_call<int>(SYS_ppoll, fds, n, time ? &t : nullptr, mask, kernel_mask_size);
}
int poll(pollfd* fds, nfds_t n, int ms) {
  const timespec t = from_ms(ms);
  return bare::ppoll(fds, n, ms < 0 ? nullptr : &t, nullptr);
}
int pselect(int n, fd_set* r, fd_set* w, fd_set* e, const timespec* time, const sigset_t* mask) {
  timespec t = time ? *time : timespec{};
  const struct {
    const sigset_t* mask;
    std::size_t size;
  } signals{mask, kernel_mask_size};
  return system_call<int>(SYS_pselect6, n, r, w, e, time ? &t : nullptr, &signals);
}
int select(int n, fd_set* r, fd_set* w, fd_set* e, timeval* time) {
  timespec t{};
  if (time) t = {.tv_sec = time->tv_sec, .tv_nsec = time->tv_usec * 1000};
  const int result = system_call<int>(SYS_pselect6, n, r, w, e, time ? &t : nullptr, nullptr);
  if (time) *time = {.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  return result;
}
int epoll_pwait(int fd, epoll_event* events, int n, int ms, const sigset_t* mask) {
  return system_call<int>(SYS_epoll_pwait, fd, events, n, ms, mask, kernel_mask_size);
}
int epoll_wait(int fd, epoll_event* events, int n, int ms) { return bare::epoll_pwait(fd, events, n, ms, nullptr); }
int epoll_pwait2(int fd, epoll_event* events, int n, const timespec* time, const sigset_t* mask) {
  return system_call<int>(SYS_epoll_pwait2, fd, events, n, time, mask, kernel_mask_size);
}
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  return system_call<int>(SYS_clock_nanosleep, clock, flags, time, left) == 0 ? 0 : errno;
}
int nanosleep(const timespec* time, timespec* left) { return system_call<int>(SYS_nanosleep, time, left); }
int usleep(useconds_t us) {
  const timespec t{.tv_sec = us / 1'000'000, .tv_nsec = us % 1'000'000 * 1000L};
  return bare::nanosleep(&t, nullptr);
}
unsigned sleep(unsigned s) {
  timespec t{.tv_sec = s, .tv_nsec = 0};
  return bare::nanosleep(&t, &t) == 0 ? 0 : static_cast<unsigned>(t.tv_sec);
}
// What is no system call is not there without the dynamic linker.
int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) { return errno = ENOSYS, EAI_SYSTEM; }
int getnameinfo(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int) {
  return errno = ENOSYS, EAI_SYSTEM;
}
hostent* no_host() {
  h_errno = NO_RECOVERY;
  return nullptr;
}
int no_host(hostent** found, int* error) {
  *found = nullptr;
  *error = NO_RECOVERY;
  return ENOSYS;
}
hostent* gethostbyname(const char*) { return no_host(); }
hostent* gethostbyname2(const char*, int) { return no_host(); }
hostent* gethostbyaddr(const void*, socklen_t, int) { return no_host(); }
int gethostbyname_r(const char*, hostent*, char*, size_t, hostent** found, int* error) { return no_host(found, error); }
int gethostbyname2_r(const char*, int, hostent*, char*, size_t, hostent** found, int* error) {
  return no_host(found, error);
}
int gethostbyaddr_r(const void*, socklen_t, int, hostent*, char*, size_t, hostent** found, int* error) {
  return no_host(found, error);
}
int flock(int fd, int operation) { return system_call<int>(SYS_flock, fd, operation); }
int fcntl(int fd, int command, ...) {
  va_list all;
  va_start(all, command);
  void* const argument = va_arg(all, void*);
  va_end(all);
  return system_call<int>(SYS_fcntl, fd, command, argument);
}
// As libc's own, which is no system call: from here to `size` further, or back.
int lockf(int fd, int operation, off_t size) {
  struct ::flock section {};
  section.l_type = operation == F_ULOCK ? F_UNLCK : F_WRLCK;
  section.l_whence = SEEK_CUR;
  section.l_len = size;
  return bare::fcntl(fd, operation == F_LOCK ? F_SETLKW : F_SETLK, &section);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list all;
  va_start(all, flags);
  const auto mode = va_arg(all, mode_t);
  va_end(all);
  return system_call<int>(SYS_openat, directory, path, flags, mode);
}
int fsync(int fd) { return system_call<int>(SYS_fsync, fd); }
int fdatasync(int fd) { return system_call<int>(SYS_fdatasync, fd); }
pid_t waitpid(pid_t pid, int* status, int options) {
  return system_call<pid_t>(SYS_wait4, pid, status, options, nullptr);
}
pid_t wait4(pid_t pid, int* status, int options, rusage* usage) {
  return system_call<pid_t>(SYS_wait4, pid, status, options, usage);
}
int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  return system_call<int>(SYS_waitid, type, id, info, options, nullptr);
}
int close(int fd) { return system_call<int>(SYS_close, fd); }
int dup3(int from, int to, int flags) { return system_call<int>(SYS_dup3, from, to, flags); }
int dup2(int from, int to) {
  if (from == to) return system_call<int>(SYS_fcntl, from, F_GETFD) < 0 ? -1 : to;
  return bare::dup3(from, to, 0);
}

}  // namespace bare
}  // namespace

#if defined(THRUM_ASAN) || defined(THRUM_TSAN)
// Linked into one program with a sanitizer, ours are the only definitions of these names, and its own go by others.
// Linked apart, the sanitizer's come first, and call ours.
static void* sanitizers_own(const char* name) noexcept {
  Dl_info first{}, here{};
  const auto* ours = reinterpret_cast<const void*>(&find_next);
  if (!::dladdr(::dlsym(RTLD_DEFAULT, name), &first) || !::dladdr(ours, &here) || first.dli_fbase != here.dli_fbase)
    return nullptr;
  char text[64];
  std::snprintf(text, sizeof text, "__interceptor_%s", name);
  return ::dlsym(RTLD_DEFAULT, text);
}
#else
static void* sanitizers_own(const char*) noexcept { return nullptr; }
#endif

void* find_next(const char* name) noexcept {
  if (looking) return nullptr;
  looking = true;
  const int saved = errno;
  void* found = sanitizers_own(name);
  if (!found) found = ::dlsym(RTLD_NEXT, name);
  errno = saved;
  looking = false;
  return found;
}

namespace real {

#define THRUM_NEXT(name) \
  constinit decltype(name) name { #name, &bare::name }
THRUM_NEXT(read);
THRUM_NEXT(write);
THRUM_NEXT(readv);
THRUM_NEXT(writev);
THRUM_NEXT(recv);
THRUM_NEXT(recvfrom);
THRUM_NEXT(recvmsg);
THRUM_NEXT(recvmmsg);
THRUM_NEXT(send);
THRUM_NEXT(sendto);
THRUM_NEXT(sendmsg);
THRUM_NEXT(sendmmsg);
THRUM_NEXT(accept);
THRUM_NEXT(accept4);
THRUM_NEXT(connect);
THRUM_NEXT(poll);
THRUM_NEXT(ppoll);
THRUM_NEXT(select);
THRUM_NEXT(pselect);
THRUM_NEXT(epoll_wait);
THRUM_NEXT(epoll_pwait);
THRUM_NEXT(epoll_pwait2);
THRUM_NEXT(sleep);
THRUM_NEXT(usleep);
THRUM_NEXT(nanosleep);
THRUM_NEXT(clock_nanosleep);
THRUM_NEXT(getaddrinfo);
THRUM_NEXT(getnameinfo);
THRUM_NEXT(gethostbyname);
THRUM_NEXT(gethostbyname2);
THRUM_NEXT(gethostbyaddr);
THRUM_NEXT(gethostbyname_r);
THRUM_NEXT(gethostbyname2_r);
THRUM_NEXT(gethostbyaddr_r);
THRUM_NEXT(flock);
THRUM_NEXT(fcntl);
THRUM_NEXT(lockf);
THRUM_NEXT(openat);
THRUM_NEXT(fsync);
THRUM_NEXT(fdatasync);
THRUM_NEXT(waitpid);
THRUM_NEXT(wait4);
THRUM_NEXT(waitid);
THRUM_NEXT(close);
THRUM_NEXT(dup2);
THRUM_NEXT(dup3);
#undef THRUM_NEXT

}  // namespace real
}  // namespace thrum::interpose
