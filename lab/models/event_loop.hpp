// A small event loop with callbacks, as one writes it by hand over epoll: one thread, readiness handlers,
// timers.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <functional>
#include <queue>
#include <vector>

namespace thrum::lab {

class event_loop {
 public:
  using clock = std::chrono::steady_clock;

  struct handler {
    virtual void on_readable() = 0;

   protected:
    ~handler() = default;
  };

  event_loop();
  ~event_loop();
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;

  // Calls `h` whenever `fd` has something to read (level-triggered), until forget().
  void watch(int fd, handler* h);
  void forget(int fd);
  // Calls `f` once, after `delay`.
  void after(std::chrono::nanoseconds delay, std::function<void()> f);

  // Runs callbacks, one after the other, until stop().
  void run();
  void stop() { running_ = false; }

 private:
  struct timer {
    clock::time_point due;
    std::function<void()> f;
    bool operator<(const timer& other) const { return due > other.due; }  // The earliest on top.
  };

  void fire_timers();
  int wait(std::vector<epoll_event>& events);

  int poller_;
  bool running_ = true;
  std::priority_queue<timer> timers_;
};

}  // namespace thrum::lab
