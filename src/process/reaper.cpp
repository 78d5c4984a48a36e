// Children that nobody waits for any more: a thread that reaps them when they end.
//
// It is started for the first one and ends with the last, so a program that waits for its children has none. A fiber
// could not do it: children are also left by plain threads, and at the end of a runtime.
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thrum/detail/spinlock.hpp>

#include "os/thread.hpp"
#include "process/child.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::detail {
namespace {

class reaper {
 public:
  void add(int pidfd) noexcept {
    std::lock_guard held(lock_);
    try {
      left_.push_back(pidfd);
    } catch (...) {
      ::close(pidfd);  // No memory: it stays a zombie until this process ends.
      return;
    }
    if (running_)
      wake();
    else
      start();
  }

 private:
  static void* main_of(void* self) {
    os::name_thread("thrum-reaper");
    sched::thread_waiter::declare_inert(true);  // It wakes no fiber.
    static_cast<reaper*>(self)->serve();
    sched::thread_waiter::declare_inert(false);
    return nullptr;
  }

  // With the lock held. When no thread can be had, the next child to be left tries again.
  void start() noexcept {
    wakeup_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_t thread;
    running_ = os::start_thread(thread, &main_of, this) == 0;
    if (running_) ::pthread_detach(thread);
    if (!running_ && wakeup_ >= 0) ::close(wakeup_);
  }

  void wake() const noexcept {
    const std::uint64_t one = 1;
    if (wakeup_ >= 0 && ::write(wakeup_, &one, sizeof one) < 0 && errno == EAGAIN) return;  // It will wake.
  }

  void serve() {
    std::vector<pollfd> watched;
    for (;;) {
      // Without an eventfd it has to look now and then.
      ::poll(watched.data(), watched.size(), watched.empty() ? 0 : wakeup_ >= 0 ? -1 : 50);
      std::lock_guard held(lock_);
      drop_reaped();
      if (left_.empty()) return stop();
      watch(watched);
    }
  }

  // The rest is under the lock.
  void drop_reaped() noexcept {
    std::erase_if(left_, [](int pidfd) { return reap_now(pidfd) && ::close(pidfd) == 0; });
  }

  void watch(std::vector<pollfd>& watched) {
    std::uint64_t count;
    if (wakeup_ >= 0 && ::read(wakeup_, &count, sizeof count) < 0) count = 0;
    watched.assign(1, pollfd{.fd = wakeup_, .events = POLLIN, .revents = 0});
    for (const int pidfd : left_) watched.push_back(pollfd{.fd = pidfd, .events = POLLIN, .revents = 0});
  }

  void stop() noexcept {
    running_ = false;
    if (wakeup_ >= 0) ::close(wakeup_);
  }

  spinlock lock_;  // Guards the rest.
  std::vector<int> left_;
  int wakeup_ = -1;
  bool running_ = false;
};

}  // namespace

void reap_later(int pidfd) noexcept {
  static auto& all = *new reaper;  // Never destroyed: children may be left while the program's statics are.
  all.add(pidfd);
}

}  // namespace thrum::detail
