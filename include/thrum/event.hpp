// A flag that can be waited for: set until it is reset. (Windows calls it a manual-reset event, trio an Event.)
//
//   thrum::event ready;
//   thrum::go([&] { prepare(); ready.set(); });
//   ready.wait();
//
// wait() suspends and is a cancellation point; the rest never suspends. All from any fiber or thread. set() lets
// everybody through who waits, even if the event is reset at once.
#pragma once

#include <chrono>
#include <cstdint>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

class event {
 public:
  constexpr explicit event(bool set = false) noexcept : set_(set) {}
  ~event();  // Ends the process when somebody waits.
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  void set() noexcept;
  void reset() noexcept {
    queue_.lock.touch();
    set_.store(false, std::memory_order_relaxed);
  }
  bool is_set() const noexcept {
    queue_.lock.touch();
    return set_.load(std::memory_order_acquire);
  }

  void wait() { wait_until_ns(detail::never); }

  // False when the time is up.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) {
    return wait_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool wait_until(std::chrono::time_point<Clock, Duration> t) {
    return wait_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them.
  auto async_wait() { return detail::await_object(*this); }
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d) {
    return detail::await_object_until(*this, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::chrono::time_point<Clock, Duration> t) {
    return detail::await_object_until(*this, detail::deadline_at(t));
  }

 private:
  template <class Object>
  friend auto detail::await_object(Object& o);
  template <class Object>
  friend auto detail::await_object_until(Object& o, std::int64_t deadline_ns);
  bool wait_until_ns(std::int64_t deadline_ns);
  bool begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns);

  detail::atomic<bool> set_;  // Becomes true only under queue_.lock.
  detail::wait_queue queue_;
};

}  // namespace thrum
