// The functions that ours stand before: the next definitions of the same names, found when they are first needed.
//
// That may be before any constructor has run, and within what dlsym itself calls (an allocator that reads a file). So
// the pointers need no construction, and a call that comes while its thread looks for one, like every call in a program
// that is linked without the dynamic linker, is made as a bare system call. The next definition is libc's, or that of
// another library that stands between: a sanitizer's interceptor, which so sees the buffers of the calls that we make.
#pragma once

#include <atomic>

#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace thrum::interpose {

// The next definition of the name; null while this thread looks for another one, or if there is none.
void* find_next(const char* name) noexcept;

template <class F>
class next_function {
 public:
  constexpr next_function(const char* name, F* bare) noexcept : name_(name), bare_(bare) {}

  template <class... Arguments>
  auto operator()(Arguments... arguments) noexcept {
    F* f = found_.load(std::memory_order_relaxed);
    if (!f) [[unlikely]]
      f = find();
    return f(arguments...);
  }

 private:
  [[gnu::noinline, gnu::cold]] F* find() noexcept {
    auto* f = reinterpret_cast<F*>(find_next(name_));
    if (!f) return bare_;
    found_.store(f, std::memory_order_relaxed);  // The same value, whoever stores it.
    return f;
  }

  const char* const name_;
  F* const bare_;  // What makes the system call itself.
  std::atomic<F*> found_{nullptr};
};

namespace real {

extern constinit next_function<ssize_t(int, void*, size_t)> read;
extern constinit next_function<ssize_t(int, const void*, size_t)> write;
extern constinit next_function<ssize_t(int, const iovec*, int)> readv;
extern constinit next_function<ssize_t(int, const iovec*, int)> writev;
extern constinit next_function<ssize_t(int, void*, size_t, int)> recv;
extern constinit next_function<ssize_t(int, void*, size_t, int, sockaddr*, socklen_t*)> recvfrom;
extern constinit next_function<ssize_t(int, msghdr*, int)> recvmsg;
extern constinit next_function<int(int, mmsghdr*, unsigned, int, timespec*)> recvmmsg;
extern constinit next_function<ssize_t(int, const void*, size_t, int)> send;
extern constinit next_function<ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t)> sendto;
extern constinit next_function<ssize_t(int, const msghdr*, int)> sendmsg;
extern constinit next_function<int(int, mmsghdr*, unsigned, int)> sendmmsg;
extern constinit next_function<int(int, sockaddr*, socklen_t*)> accept;
extern constinit next_function<int(int, sockaddr*, socklen_t*, int)> accept4;
extern constinit next_function<int(int, const sockaddr*, socklen_t)> connect;
extern constinit next_function<int(pollfd*, nfds_t, int)> poll;
extern constinit next_function<int(pollfd*, nfds_t, const timespec*, const sigset_t*)> ppoll;
extern constinit next_function<int(int, fd_set*, fd_set*, fd_set*, timeval*)> select;
extern constinit next_function<int(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*)> pselect;
extern constinit next_function<int(int, epoll_event*, int, int)> epoll_wait;
extern constinit next_function<int(int, epoll_event*, int, int, const sigset_t*)> epoll_pwait;
extern constinit next_function<int(int, epoll_event*, int, const timespec*, const sigset_t*)> epoll_pwait2;
extern constinit next_function<unsigned(unsigned)> sleep;
extern constinit next_function<int(useconds_t)> usleep;
extern constinit next_function<int(const timespec*, timespec*)> nanosleep;
extern constinit next_function<int(clockid_t, int, const timespec*, timespec*)> clock_nanosleep;
extern constinit next_function<int(const char*, const char*, const addrinfo*, addrinfo**)> getaddrinfo;
extern constinit next_function<int(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int)> getnameinfo;
extern constinit next_function<hostent*(const char*)> gethostbyname;
extern constinit next_function<hostent*(const char*, int)> gethostbyname2;
extern constinit next_function<hostent*(const void*, socklen_t, int)> gethostbyaddr;
extern constinit next_function<int(const char*, hostent*, char*, size_t, hostent**, int*)> gethostbyname_r;
extern constinit next_function<int(const char*, int, hostent*, char*, size_t, hostent**, int*)> gethostbyname2_r;
extern constinit next_function<int(const void*, socklen_t, int, hostent*, char*, size_t, hostent**, int*)>
    gethostbyaddr_r;
extern constinit next_function<int(int, int)> flock;
extern constinit next_function<int(int, int, ...)> fcntl;
extern constinit next_function<int(int, int, off_t)> lockf;
extern constinit next_function<int(int, const char*, int, ...)> openat;
extern constinit next_function<int(int)> fsync;
extern constinit next_function<int(int)> fdatasync;
extern constinit next_function<pid_t(pid_t, int*, int)> waitpid;
extern constinit next_function<pid_t(pid_t, int*, int, rusage*)> wait4;
extern constinit next_function<int(idtype_t, id_t, siginfo_t*, int)> waitid;
extern constinit next_function<int(int)> close;
extern constinit next_function<int(int, int)> dup2;
extern constinit next_function<int(int, int, int)> dup3;

}  // namespace real
}  // namespace thrum::interpose
