// Tickers and timers: times as something to receive, alone or in a select.
//
//   thrum::ticker every(10ms);
//   for (auto due : every) sample(due);                         // Until somebody calls every.stop().
//
//   auto patience = thrum::after(1s);                           // A timer, for all of several selects:
//   while (thrum::select(parts.on_receive(add), patience.on_receive([](auto) {})) == 0) {}
//
// A ticker's ticks are due at its start plus one, two, … periods. One that nobody has taken is kept, and those that are
// due before it is taken are dropped, so a slow receiver gets fewer of them. A timer has one tick, and then ends. Each
// tick goes to one receiver, and is the time at which it was due, by the runtime's clock.
//
// A ticker or timer object is a handle: copies refer to the same one. It is made in a fiber, in whose runtime it then
// ticks; it may be used by any fiber or thread, but not be received from once that runtime has ended. While nobody
// waits for it, it costs nothing. The waiting calls suspend and are cancellation points: a cancelled receive takes no
// tick. The others never suspend.
//
// The idea is Go's; there, stop() leaves receivers waiting.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <thrum/detail/channel_awaiters.hpp>
#include <thrum/detail/channel_core.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/receive_iterator.hpp>
#include <thrum/select.hpp>

namespace thrum {

using tick_time = std::chrono::steady_clock::time_point;

namespace detail {

class tick_source;  // src/chan/ticker.cpp

// `period_ns` 0: a single tick. Throws std::logic_error on a thread that runs no fiber.
std::shared_ptr<tick_source> make_tick_source(std::int64_t first_ns, std::int64_t period_ns);
void restart_ticks(tick_source& s, std::int64_t first_ns, std::int64_t period_ns) noexcept;
bool stop_ticks(tick_source& s) noexcept;
channel_core* ticks_of(tick_source& s) noexcept;
void take_due_tick(tick_source& s) noexcept;          // For those who do not wait: puts it where it can be received.
std::int64_t checked_period(std::int64_t period_ns);  // Throws std::invalid_argument unless it is positive.

// Somebody waits for ticks: as long as one of these exists, the source's timer runs.
class tick_listener {
 public:
  explicit tick_listener(std::shared_ptr<tick_source> s);
  tick_listener(tick_listener&& other) noexcept = default;
  tick_listener& operator=(tick_listener&&) = delete;
  ~tick_listener();

 private:
  std::shared_ptr<tick_source> source_;
};

template <class F>
class tick_clause {
 public:
  tick_clause(std::shared_ptr<tick_source> s, F f)
      : source_(std::move(s)), received_(ticks_of(*source_), std::move(f)) {}
  select_clause describe() {
    if (!listening_) listening_.emplace(source_);
    return received_.describe();
  }
  void fire(channel_result r) {
    listening_.reset();  // Others may wait for the next tick while f runs.
    received_.fire(r);
  }

 private:
  std::shared_ptr<tick_source> source_;
  receive_clause<tick_time, F> received_;
  std::optional<tick_listener> listening_;
};

template <bool Timed>
class [[nodiscard]] tick_awaiter : public receive_awaiter<tick_time, Timed> {
 public:
  tick_awaiter(std::shared_ptr<tick_source> s, std::int64_t deadline_ns)
      : receive_awaiter<tick_time, Timed>(ticks_of(*s), deadline_ns), source_(std::move(s)) {}
  bool await_ready() {
    listening_.emplace(source_);
    return receive_awaiter<tick_time, Timed>::await_ready();
  }

 private:
  std::shared_ptr<tick_source> source_;
  std::optional<tick_listener> listening_;
};

}  // namespace detail

// What ticker and timer have in common.
class tick_receiver {
 public:
  using value_type = tick_time;

  // Suspends until a tick is due; empty once it was stopped or, of a timer, had its tick. Throws cancelled.
  std::optional<tick_time> receive() { return receive_until_ns(detail::never); }
  // Empty also when it would have to wait, or when the time is up.
  std::optional<tick_time> try_receive() { return receive_until_ns(detail::only_try); }
  template <class Rep, class Period>
  std::optional<tick_time> receive_for(std::chrono::duration<Rep, Period> d) {
    return receive_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  std::optional<tick_time> receive_until(std::chrono::time_point<Clock, Duration> t) {
    return receive_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them.
  auto async_receive() { return detail::tick_awaiter<false>(source_, detail::never); }
  template <class Rep, class Period>
  auto async_receive_for(std::chrono::duration<Rep, Period> d) {
    return detail::tick_awaiter<true>(source_, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_receive_until(std::chrono::time_point<Clock, Duration> t) {
    return detail::tick_awaiter<true>(source_, detail::deadline_at(t));
  }

  // A clause for select(). f gets a std::optional<tick_time>, empty at the end.
  template <class F>
  auto on_receive(F f) const {
    return detail::tick_clause<F>(source_, std::move(f));
  }

  // There are no more ticks, until a reset(): who waits, and who receives later, sees the end; a tick that was not
  // taken is dropped. True: there would have been one.
  bool stop() noexcept { return detail::stop_ticks(*source_); }

  // Receives until the end.
  using iterator = detail::receive_iterator<tick_receiver>;
  iterator begin() { return iterator(this); }
  iterator end() { return {}; }

 protected:
  tick_receiver(std::int64_t first_ns, std::int64_t period_ns)
      : source_(detail::make_tick_source(first_ns, period_ns)) {}
  tick_receiver(const tick_receiver&) = default;  // No moves: a handle is never empty.
  tick_receiver& operator=(const tick_receiver&) = default;

  std::optional<tick_time> receive_until_ns(std::int64_t deadline_ns);

  std::shared_ptr<detail::tick_source> source_;
};

class ticker : public tick_receiver {
 public:
  // The first tick is due after one period. Throws std::invalid_argument unless the period is positive,
  // std::logic_error on a thread that runs no fiber.
  template <class Rep, class Period>
  explicit ticker(std::chrono::duration<Rep, Period> period)
      : tick_receiver(detail::deadline_after(period), in_ns(period)) {}

  // Starts anew, with this period, from now on; also if it was stopped. A tick that was not taken is dropped.
  template <class Rep, class Period>
  void reset(std::chrono::duration<Rep, Period> period) {
    const auto ns = in_ns(period);
    detail::restart_ticks(*source_, detail::deadline_after(period), ns);
  }

 private:
  template <class Rep, class Period>
  static std::int64_t in_ns(std::chrono::duration<Rep, Period> period) {
    const auto longest = std::chrono::duration<double>(9.0e9);
    return detail::checked_period(period > longest ? detail::never
                                                   : std::chrono::ceil<std::chrono::nanoseconds>(period).count());
  }
};

class timer : public tick_receiver {
 public:
  // One tick, after d, or at t. Throws std::logic_error on a thread that runs no fiber.
  template <class Rep, class Period>
  explicit timer(std::chrono::duration<Rep, Period> d) : tick_receiver(detail::deadline_after(d), 0) {}
  template <class Clock, class Duration>
  explicit timer(std::chrono::time_point<Clock, Duration> t) : tick_receiver(detail::deadline_at(t), 0) {}

  // One tick, after d from now on; also if it was stopped or had its tick. One that was not taken is dropped.
  template <class Rep, class Period>
  void reset(std::chrono::duration<Rep, Period> d) {
    detail::restart_ticks(*source_, detail::deadline_after(d), 0);
  }
};

// A timer; with a function, after() and at() are clauses of one select (select.hpp).
template <class Rep, class Period>
[[nodiscard]] timer after(std::chrono::duration<Rep, Period> d) {
  return timer(d);
}
template <class Clock, class Duration>
[[nodiscard]] timer at(std::chrono::time_point<Clock, Duration> t) {
  return timer(t);
}

}  // namespace thrum
