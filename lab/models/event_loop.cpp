// The loop: wait for descriptors until the next timer is due, call back, fire timers.

#include "lab/models/event_loop.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "lab/failure.hpp"
#include "lab/limits.hpp"

namespace thrum::lab {

event_loop::event_loop() : poller_(epoll_create1(EPOLL_CLOEXEC)) {
  if (poller_ < 0) throw failure(explain_descriptors(errno));
}

event_loop::~event_loop() { close(poller_); }

void event_loop::watch(int fd, handler* h) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = h;
  epoll_ctl(poller_, EPOLL_CTL_ADD, fd, &event);
}

void event_loop::forget(int fd) { epoll_ctl(poller_, EPOLL_CTL_DEL, fd, nullptr); }

void event_loop::after(std::chrono::nanoseconds delay, std::function<void()> f) {
  timers_.push({clock::now() + delay, std::move(f)});
}

void event_loop::fire_timers() {
  if (timers_.empty()) return;
  clock::time_point now = clock::now();
  while (running_ && !timers_.empty() && timers_.top().due <= now) {
    // The queue gives only const access to its top; it is popped before anything can compare it again.
    std::function<void()> f = std::move(const_cast<timer&>(timers_.top()).f);
    timers_.pop();
    f();
  }
}

int event_loop::wait(std::vector<epoll_event>& events) {
  timespec left{};
  if (!timers_.empty()) {
    std::chrono::nanoseconds ns =
        std::max<std::chrono::nanoseconds>(timers_.top().due - clock::now(), std::chrono::nanoseconds(0));
    left = {ns.count() / 1'000'000'000, ns.count() % 1'000'000'000};
  }
  return epoll_pwait2(poller_, events.data(), static_cast<int>(events.size()), timers_.empty() ? nullptr : &left,
                      nullptr);
}

void event_loop::run() {
  std::vector<epoll_event> events(256);
  while (running_) {
    int n = wait(events);
    for (int i = 0; i < n; ++i) static_cast<handler*>(events[static_cast<std::size_t>(i)].data.ptr)->on_readable();
    fire_timers();
  }
}

}  // namespace thrum::lab
