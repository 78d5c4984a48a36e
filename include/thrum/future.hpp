// Futures: results that arrive later, of a child that a scope runs, of a fiber (async.hpp), or of whoever holds a
// promise (promise.hpp).
//
//   thrum::future<int> f = s.async(compute, 42);
//   thrum::future<std::string> g = f.then([](int v) { return std::to_string(v); });
//   use(g.get());
//
// wait(), wait_for(), wait_until() and get() suspend the fiber, or block the thread, until the result is there, and are
// cancellation points: a get() that was cancelled leaves the future as it was. The rest never suspends. All may be used
// by fibers and plain threads; one future by one of them at a time, but that several may wait. For combinations see
// when.hpp.
//
// The names are std's; then() is that of the Concurrency TS, but for what its function gets.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/future_core.hpp>
#include <thrum/fiber.hpp>
#include <thrum/select.hpp>

namespace thrum {

// Misuse of futures and promises.
class future_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// There will be no result: the fiber that was to produce it was cancelled, or the promise was destroyed without one.
class broken_promise : public future_error {
 public:
  broken_promise() : future_error("thrum: the fiber or the promise ended without a result") {}
};

// A future or promise that is empty: default-constructed, moved from, or a future whose value has been got.
class no_state : public future_error {
 public:
  no_state() : future_error("thrum: a future or promise without a state") {}
};

template <class T>
class future;
template <class T>
class shared_future;

namespace detail {

struct future_access;

// What future and shared_future have in common.
template <class T>
class future_base {
 public:
  bool valid() const noexcept { return state_ != nullptr; }
  bool ready() const { return checked().ready(); }  // Throws no_state, as all below.

  // Suspend until the result is there. False: the time is up. Throw cancelled.
  void wait() const { checked().wait_until_ns(never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {
    return checked().wait_until_ns(deadline_after(d));
  }
  template <class Clock, class Duration>
  bool wait_until(std::chrono::time_point<Clock, Duration> t) const {
    return checked().wait_until_ns(deadline_at(t));
  }

  // A clause for select(): f() runs once the result is there.
  template <class F>
  auto on_ready(F f) const {
    return condition_clause<F>(checked().describe(), std::move(f));
  }

  // For tasks: co_await them.
  auto async_wait() const { return await_object(checked()); }
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d) const {
    return await_object_until(checked(), deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::chrono::time_point<Clock, Duration> t) const {
    return await_object_until(checked(), deadline_at(t));
  }

 protected:
  friend future_access;

  auto begin_waiting() const {
    return
        [&state = checked()](detail::async_wait& w, detail::async_timer* t) { return state.begin_wait(w, t, never); };
  }

  future_base() noexcept = default;
  explicit future_base(std::shared_ptr<future_state<T>> state) noexcept : state_(std::move(state)) {}

  future_state<T>& checked() const {
    if (!state_) throw no_state();
    return *state_;
  }
  std::shared_ptr<future_state<T>> state_;
};

struct future_access {
  template <class T>
  static future_core& core(const future_base<T>& f) {
    return f.checked();
  }
  // Of a future that is ready.
  template <class T>
  static T take(future<T>& f) {
    return f.take();
  }
};

// A fiber that has been created, and starts when `source` is ready: no stack waits.
template <class T, class Result, class F, bool shared>
struct successor : continuation {
  std::shared_ptr<future_state<T>> source;
  std::shared_ptr<future_state<Result>> result;
  F function;
  unstarted fiber;

  successor(std::shared_ptr<future_state<T>> source, std::shared_ptr<future_state<Result>> result, F&& f,
            unstarted fiber)
      : source(std::move(source)), result(std::move(result)), function(std::move(f)), fiber(fiber) {
    run = [](continuation& self) noexcept { start_fiber(static_cast<successor&>(self).fiber, &enter, true); };
  }
  static void enter(void* p) {
    auto& self = *static_cast<successor*>(p);
    fulfil(*self.result, [&]() -> Result { return self.call(); });
    self.~successor();
  }
  Result call() {
    if constexpr (std::is_void_v<T>) {
      source->rethrow_failure();
      return std::invoke(std::move(function));
    } else if constexpr (shared) {
      return std::invoke(std::move(function), source->look());
    } else {
      return std::invoke(std::move(function), source->take());
    }
  }
};

template <class F, class Value>
struct successor_result {
  using type = std::invoke_result_t<F, Value>;
};
template <class F>
struct successor_result<F, void> {
  using type = std::invoke_result_t<F>;
};

template <bool shared, class Result, class T, class F>
std::shared_ptr<future_state<Result>> follow(std::shared_ptr<future_state<T>> source, F f, std::source_location where) {
  using closure = successor<T, Result, F, shared>;
  auto result = std::make_shared<future_state<Result>>();
  const auto u = create_fiber(nullptr, sizeof(closure), alignof(closure), {}, where);
  closure* c;
  try {
    c = new (u.storage) closure(source, result, std::move(f), u);
  } catch (...) {
    abandon_fiber(u);
    throw;
  }
  source->when_ready(*c);
  return result;
}

}  // namespace detail

template <class T>
class future : public detail::future_base<T> {
 public:
  using value_type = T;

  future() noexcept = default;
  explicit future(std::shared_ptr<detail::future_state<T>> state) noexcept : detail::future_base<T>(std::move(state)) {}
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;

  // Waits; returns the value, or throws the exception. Once: afterwards the future is empty.
  T get() {
    this->wait();
    return take();
  }
  // The same for tasks: co_await it.
  auto async_get() {
    return detail::awaiter(this->begin_waiting(), [this] { return take(); });
  }

  // The same result, for many. Empties this future.
  shared_future<T> share() noexcept { return shared_future<T>(std::move(*this)); }

  // Calls f(value), or f() for void, in a fiber of its own once the value is there; returns the future of what f
  // returns. If there is an exception instead, f is not called and the exception passes on to that future. Empties this
  // future. Does not suspend, and holds no stack meanwhile; but the fiber exists from now on, so the runtime does not
  // end before it. It is in no scope. Throws std::logic_error outside any runtime, and what go() throws; then this
  // future is as it was.
  template <class F>
  auto then(F&& f, std::source_location where = std::source_location::current()) {
    using result = typename detail::successor_result<std::decay_t<F>, T>::type;
    this->checked();
    auto state = detail::follow<false, result>(this->state_, std::decay_t<F>(std::forward<F>(f)), where);
    this->state_ = nullptr;
    return future<result>(std::move(state));
  }

 private:
  friend detail::future_access;
  T take() { return std::exchange(this->state_, nullptr)->take(); }
};

// A result that many look at; copies refer to the same one.
template <class T>
class shared_future : public detail::future_base<T> {
 public:
  using value_type = T;

  shared_future() noexcept = default;
  shared_future(future<T>&& f) noexcept : detail::future_base<T>(static_cast<detail::future_base<T>&&>(f)) {}

  // Waits; returns a reference to the value, which lives as long as one of the copies, or throws the exception.
  decltype(auto) get() const {
    this->wait();
    return this->state_->look();
  }
  // The same for tasks: co_await it.
  auto async_get() const {
    return detail::awaiter(this->begin_waiting(), [this]() -> decltype(auto) { return this->state_->look(); });
  }

  // As future::then(), with a reference to the value for f; this future stays.
  template <class F>
  auto then(F&& f, std::source_location where = std::source_location::current()) const {
    using seen = typename detail::future_state<T>::seen;
    using result = typename detail::successor_result<std::decay_t<F>, seen>::type;
    this->checked();
    return future<result>(detail::follow<true, result>(this->state_, std::decay_t<F>(std::forward<F>(f)), where));
  }
};

}  // namespace thrum
