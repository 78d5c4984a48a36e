// Waiting for a number of things to be done, as Go's sync.WaitGroup.
//
//   thrum::wait_group wg;
//   for (auto& job : jobs) { wg.add(); thrum::go([&] { run(job); wg.done(); }); }
//   wg.wait();
//
// add() and done() never suspend; wait() suspends and is a cancellation point. All from any fiber or thread. The group
// may be used again once wait() has returned.
#pragma once

#include <chrono>
#include <cstdint>
#include <stdexcept>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

// done() was called more often than add() announced.
class negative_wait_group : public std::logic_error {
 public:
  negative_wait_group() : std::logic_error("thrum: wait_group: more done() than add()") {}
};

class wait_group {
 public:
  explicit wait_group(std::int64_t count = 0) : count_(count) {
    if (count < 0) throw negative_wait_group();
  }
  ~wait_group();  // Ends the process when somebody waits.
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;

  // Throws negative_wait_group, and leaves the count as it was, when it would fall below zero.
  void add(std::int64_t count = 1) {
    if (!change(count)) throw negative_wait_group();
  }
  void done() { add(-1); }

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
  friend class latch;
  struct waited_for;                      // How its waits are told.
  bool change(std::int64_t by) noexcept;  // False, and nothing is changed, when it would fall below zero.
  bool wait_until_ns(std::int64_t deadline_ns);
  bool begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns);

  detail::atomic<std::int64_t> count_;  // Falls to zero only under queue_.lock, so a waiter may destroy the group.
  detail::wait_queue queue_;
};

}  // namespace thrum
