// The result of a child that a scope runs (scope::async): a value or an exception that arrives later.
//
//   thrum::future<int> f = s.async(compute, 42);
//   int v = f.get();
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

// The child ended without a result: it was cancelled.
class broken_promise : public std::logic_error {
 public:
  broken_promise() : std::logic_error("thrum: the fiber ended without a result") {}
};

namespace detail {

class future_core {
 public:
  void complete(std::exception_ptr failure) noexcept;
  bool ready() const noexcept;
  bool wait_until_ns(std::int64_t deadline_ns);  // False: timed out. Throws cancelled.
  bool begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns);
  void rethrow_failure() const;

 private:
  mutable wait_queue queue_;
  bool ready_ = false;  // Guarded by queue_.lock, as is failure_ until ready.
  std::exception_ptr failure_;
};

template <class T>
struct future_state : future_core {
  std::optional<std::conditional_t<std::is_void_v<T>, char, T>> value;
};

}  // namespace detail

template <class T>
class future {
 public:
  future() noexcept = default;
  explicit future(std::shared_ptr<detail::future_state<T>> state) noexcept : state_(std::move(state)) {}

  bool valid() const noexcept { return state_ != nullptr; }
  bool ready() const { return checked().ready(); }

  // Suspends until the result is there; cancellation points. get() returns the value, once, or throws the exception.
  void wait() const { checked().wait_until_ns(detail::never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {
    return checked().wait_until_ns(detail::deadline_after(d));
  }
  T get() {
    wait();
    return take();
  }

  // For tasks: co_await them.
  auto async_wait() const { return detail::await_object(checked()); }
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d) const {
    return detail::await_object_until(checked(), detail::deadline_after(d));
  }
  auto async_get() {
    auto& state = checked();
    return detail::awaiter(
        [&state](detail::async_wait& w, detail::async_timer* t) { return state.begin_wait(w, t, detail::never); },
        [this] { return take(); });
  }

 private:
  T take() {
    const auto state = std::move(state_);
    state->rethrow_failure();
    if constexpr (!std::is_void_v<T>) return std::move(*state->value);
  }

  detail::future_state<T>& checked() const {
    if (!state_) throw std::logic_error("thrum: a future without a state");
    return *state_;
  }
  std::shared_ptr<detail::future_state<T>> state_;
};

}  // namespace thrum
