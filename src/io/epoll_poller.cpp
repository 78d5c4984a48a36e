// epoll with nanosecond timeouts where the kernel has them (5.11), milliseconds otherwise.
#include "io/epoll_poller.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <system_error>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/event.hpp"

namespace thrum::io {
namespace {

constexpr int events_per_wait = 1024;
std::atomic<bool> has_pwait2{true};

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

class epoll_poller final : public sched::poller {
 public:
  epoll_poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) fail("thrum: epoll_create1");
    wakeup_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_event e{.events = EPOLLIN | EPOLLET, .data = {.u64 = wakeup_tag}};
    // Edge-triggered: every write to the eventfd is an event, and nobody ever has to read it.
    if (wakeup_ < 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeup_, &e) != 0) {
      const int error = errno;
      if (wakeup_ >= 0) ::close(wakeup_);
      ::close(epoll_);
      errno = error;
      fail("thrum: eventfd for the poller");
    }
  }
  ~epoll_poller() override {
    if (const int once = once_.load(std::memory_order_relaxed); once >= 0) ::close(once);
    ::close(wakeup_);
    ::close(epoll_);
  }

  int watch(int fd, sched::fd_watch& w) noexcept override {
    epoll_event e{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                  .data = {.u64 = sched::found_watch{&w, w.generation()}.packed()}};
    // It is there already when this runtime has watched it before, and another one in between.
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) != 0 &&
        (errno != EEXIST || ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &e) != 0))
      return errno;
    watched_.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }

  void forget(sched::fd_watch&) noexcept override {
    // Closing the descriptor takes it out of the epoll instance.
    watched_.fetch_sub(1, std::memory_order_relaxed);
  }

  // A set of their own: in the first one their registrations might take the place of ours. It is in the first like any
  // descriptor, level-triggered, and asked when that tells of it.
  bool adopt(sched::fd_watch&) noexcept override {
    if (once_.load(std::memory_order_acquire) < 0 && !open_once()) return false;
    watched_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  int watch_once(int fd, sched::fd_watch& w, unsigned events) noexcept override {
    epoll_event e{.events = events | EPOLLONESHOT, .data = {.u64 = sched::found_watch{&w, w.generation()}.packed()}};
    const int once = once_.load(std::memory_order_relaxed);
    if (::epoll_ctl(once, EPOLL_CTL_MOD, fd, &e) == 0) return 0;
    return errno == ENOENT && ::epoll_ctl(once, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : errno;
  }

  void wait(std::int64_t deadline_ns, std::int64_t now_ns, sched::runnable_batch& out) noexcept override {
    // A look without waiting is pointless when nothing is registered.
    if (deadline_ns <= now_ns && watched() == 0) return;
    const int n = wait_for_events(deadline_ns, now_ns);
    bool asks_once = false;
    for (int i = 0; i < n; ++i) {
      const auto& event = events_[static_cast<std::size_t>(i)];
      if (event.data.u64 == once_tag) asks_once = true;
      if (event.data.u64 <= once_tag) continue;
      const auto about = sched::found_watch::unpacked(event.data.u64);
      about.watch->ready(meaning(event.events), about.generation, out);
    }
    if (asks_once) deliver_once(out);
  }

  void wake() noexcept override {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the poller is awake anyway.
    [[maybe_unused]] const auto n = ::write(wakeup_, &one, sizeof one);
  }

  std::size_t watched() const noexcept override { return watched_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t wakeup_tag = 0;
  static constexpr std::uint64_t once_tag = 1;  // No watch's address.

  // Two may try it at a time.
  bool open_once() noexcept {
    const int fresh = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event e{.events = EPOLLIN, .data = {.u64 = once_tag}};
    if (fresh >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fresh, &e) == 0) {
      int none = -1;
      if (once_.compare_exchange_strong(none, fresh, std::memory_order_acq_rel)) return true;
    }
    if (fresh >= 0) ::close(fresh);
    return once_.load(std::memory_order_acquire) >= 0;
  }

  void deliver_once(sched::runnable_batch& out) noexcept {
    const int n = ::epoll_wait(once_.load(std::memory_order_relaxed), events_.data(), events_per_wait, 0);
    for (int i = 0; i < n; ++i) {
      const auto& event = events_[static_cast<std::size_t>(i)];
      const auto about = sched::found_watch::unpacked(event.data.u64);
      about.watch->ready_once(event.events, about.generation, out);
    }
  }

  int wait_for_events(std::int64_t deadline_ns, std::int64_t now_ns) noexcept {
    const auto left = deadline_ns == sched::never ? -1 : std::max<std::int64_t>(deadline_ns - now_ns, 0);
#ifdef SYS_epoll_pwait2
    if (left > 0 && has_pwait2.load(std::memory_order_relaxed)) {
      const timespec t{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      const auto n = ::syscall(SYS_epoll_pwait2, epoll_, events_.data(), events_per_wait, &t, nullptr, 0);
      if (n >= 0 || errno != ENOSYS) return static_cast<int>(n);
      has_pwait2.store(false, std::memory_order_relaxed);
    }
#endif
    // Rounded up: waking before the deadline would spin.
    const auto ms = left < 0 ? -1 : std::min<std::int64_t>((left + 999'999) / 1'000'000, 60'000);
    return ::epoll_wait(epoll_, events_.data(), events_per_wait, static_cast<int>(ms));
  }

  const int epoll_;
  int wakeup_ = -1;
  std::atomic<int> once_{-1};  // The set of watch_once(), made when it is first wanted.
  std::atomic<std::size_t> watched_{0};
  std::array<epoll_event, events_per_wait> events_;  // For one waiting thread at a time.
};

}  // namespace

std::unique_ptr<sched::poller> make_epoll_poller() { return std::make_unique<epoll_poller>(); }

void forbid_epoll_pwait2(bool forbidden) noexcept { has_pwait2.store(!forbidden); }

}  // namespace thrum::io
