// Linux implementation of os/thread.hpp.
#include "os/thread.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace thrum::os {

void yield_thread() noexcept { ::sched_yield(); }

void sleep_thread_ns(std::int64_t ns) noexcept {
  timespec t{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
}

pid_t thread_id() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

namespace {

std::atomic<int> threads_left{-1};

bool may_start_thread() noexcept {
  int left = threads_left.load(std::memory_order_relaxed);
  while (left > 0 && !threads_left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) {
  }
  return left != 0;
}

}  // namespace

void limit_threads(int more) noexcept { threads_left.store(more, std::memory_order_relaxed); }

int start_thread(pthread_t& thread, void* (*entry)(void*), void* argument) noexcept {
  if (!may_start_thread()) return EAGAIN;
  sigset_t all, before;
  sigfillset(&all);
  for (int synchronous : {SIGPROF, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT}) sigdelset(&all, synchronous);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread, nullptr, entry, argument);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

void join_thread(pthread_t thread) noexcept { ::pthread_join(thread, nullptr); }

void name_thread(const char* name) noexcept { ::prctl(PR_SET_NAME, name, 0, 0, 0); }
void want_exact_timers() noexcept { ::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); }

void set_time_slice(pid_t tid, std::int64_t ns) noexcept {
#ifdef SYS_sched_setattr
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes{};
  attributes.size = sizeof attributes;
  constexpr std::uint64_t keep_parameters = 0x10;  // SCHED_FLAG_KEEP_PARAMS would also ignore the runtime.
  (void)keep_parameters;
  if (::syscall(SYS_sched_getattr, tid, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = static_cast<std::uint64_t>(ns);
  ::syscall(SYS_sched_setattr, tid, &attributes, 0);
#else
  (void)tid, (void)ns;
#endif
}

std::int64_t thread_cpu_ns(pid_t tid) noexcept {
  // The kernel's encoding of a per-thread CPU clock: ~tid << 3, CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED.
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6u);
  timespec t;
  if (::clock_gettime(clock, &t) != 0) return -1;
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

char thread_state(pid_t tid) noexcept {
  char path[64], text[512];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", static_cast<int>(tid));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return '?';
  const auto n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (n <= 0) return '?';
  text[n] = '\0';
  // The thread's name stands in parentheses and may contain any character: the state follows the last one.
  const char* end = std::strrchr(text, ')');
  return end && end[1] == ' ' ? end[2] : '?';
}

int thread_count() noexcept {
  struct stat s;
  if (::stat("/proc/self/task", &s) != 0) return -1;
  return static_cast<int>(s.st_nlink) - 2;
}

}  // namespace thrum::os
