// A meeting point for a number of participants, again and again, as std::barrier.
//
//   thrum::barrier step(workers, [&]() noexcept { exchange(); });
//   for (...) thrum::go([&] { for (...) { compute(); step.arrive_and_wait(); } });
//
// The last to arrive runs the completion, then lets all through. wait() and arrive_and_wait() suspend and are
// cancellation points; an arrival stands though the wait for the others was cancelled. The rest never suspends, apart
// from what the completion does. All from any fiber or thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

// More arrived than a phase expects, or a negative number did.
class barrier_overrun : public std::logic_error {
 public:
  barrier_overrun() : std::logic_error("thrum: barrier: more arrived than expected") {}
};

namespace detail {

class barrier_core {
 public:
  explicit barrier_core(std::ptrdiff_t expected);
  ~barrier_core();  // Ends the process when somebody waits.
  barrier_core(const barrier_core&) = delete;
  barrier_core& operator=(const barrier_core&) = delete;

  // `last` is called by the last to arrive, before the others go on.
  std::uint64_t arrive(std::ptrdiff_t n, bool drop, void (*last)(void*) noexcept, void* completion);
  bool wait_until_ns(std::uint64_t phase, std::int64_t deadline_ns);  // False: timed out.
  bool begin_wait(std::uint64_t phase, async_wait& w, async_timer* timer, std::int64_t deadline_ns);

 private:
  struct waited_for;  // How its waits are told.

  wait_queue queue_;
  // Guarded by queue_.lock.
  std::ptrdiff_t expected_;   // In the next phase.
  std::ptrdiff_t remaining_;  // In this one.
  std::uint64_t phase_ = 0;
};

struct no_completion {
  void operator()() const noexcept {}
};

}  // namespace detail

template <class Completion = detail::no_completion>
class barrier {
  static_assert(std::is_nothrow_invocable_v<Completion&>, "a barrier's completion must be noexcept");

 public:
  // Of which phase an arrival was.
  class arrival_token {
    friend class barrier;
    explicit arrival_token(std::uint64_t phase) noexcept : phase_(phase) {}
    std::uint64_t phase_;
  };

  explicit barrier(std::ptrdiff_t expected, Completion completion = {})
      : core_(expected), completion_(std::move(completion)) {}

  // Throws barrier_overrun, and nobody has arrived, when the phase does not expect so many.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) { return arrival_token(arrive(n, false)); }
  void wait(arrival_token t) { core_.wait_until_ns(t.phase_, detail::never); }
  void arrive_and_wait() { wait(arrive()); }
  // Arrives in this phase and takes part in none after it.
  void arrive_and_drop() { arrive(1, true); }

  // False when the time is up; the arrival stands.
  template <class Rep, class Period>
  bool wait_for(arrival_token t, std::chrono::duration<Rep, Period> d) {
    return core_.wait_until_ns(t.phase_, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool wait_until(arrival_token t, std::chrono::time_point<Clock, Duration> at) {
    return core_.wait_until_ns(t.phase_, detail::deadline_at(at));
  }

  // For tasks: co_await them.
  auto async_wait(arrival_token t) {
    return detail::awaiter([this, t](detail::async_wait& w, detail::async_timer* timer) {
      return core_.begin_wait(t.phase_, w, timer, detail::never);
    });
  }
  auto async_arrive_and_wait() { return async_wait(arrive()); }
  template <class Rep, class Period>
  auto async_wait_for(arrival_token t, std::chrono::duration<Rep, Period> d) {
    return async_wait_until_ns(t, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_wait_until(arrival_token t, std::chrono::time_point<Clock, Duration> at) {
    return async_wait_until_ns(t, detail::deadline_at(at));
  }

 private:
  auto async_wait_until_ns(arrival_token t, std::int64_t deadline_ns) {
    return detail::timed_awaiter(deadline_ns,
                                 [this, t](detail::async_wait& w, detail::async_timer* timer, std::int64_t d) {
                                   return core_.begin_wait(t.phase_, w, timer, d);
                                 });
  }
  std::uint64_t arrive(std::ptrdiff_t n, bool drop) {
    return core_.arrive(
        n, drop, [](void* completion) noexcept { (*static_cast<Completion*>(completion))(); }, &completion_);
  }

  detail::barrier_core core_;
  Completion completion_;
};

}  // namespace thrum
