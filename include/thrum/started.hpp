// How a child tells who started it that it is ready (scope::start).
//
//   auto address = s.start<std::string>([](thrum::started<std::string>& ready) {
//     auto listener = thrum::net::tcp_listener::bind("127.0.0.1:0");
//     ready(listener.local_address());
//     serve(listener);
//   });
//
// The idea is that of trio's nursery.start.
#pragma once

#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/object_lock.hpp>
#include <thrum/future.hpp>

namespace thrum {

// A child told that it is ready a second time.
class already_started : public std::logic_error {
 public:
  already_started() : std::logic_error("thrum: a child told that it is ready a second time") {}
};

namespace detail {

class scope_core;
void cancel_scope(scope_core& s) noexcept;

// Between start() and its child, which has a scope around itself alone, so that a start() that is cancelled can cancel
// it.
class start_gate {
 public:
  // The child; false when start() has given up.
  bool enter(scope_core& own) {
    std::lock_guard held(lock_);
    own_ = &own;
    return !given_up_;
  }
  void leave() {
    std::lock_guard held(lock_);
    own_ = nullptr;
  }
  bool given_up() {
    std::lock_guard held(lock_);
    return given_up_;
  }

  void give_up() {
    std::lock_guard held(lock_);
    given_up_ = true;
    if (own_) cancel_scope(*own_);  // Under the lock: the scope ends after leave().
  }

  bool reported = false;  // The child's.

 private:
  object_lock lock_;
  scope_core* own_ = nullptr;
  bool given_up_ = false;
};

template <class T>
struct start_state : future_state<T>, start_gate {};

// The child leaves before its scope ends.
struct leave_at_the_end {
  start_gate& gate;
  ~leave_at_the_end() { gate.leave(); }
};

}  // namespace detail

// The child's end of scope::start.
template <class T>
class started {
  using slot = std::conditional_t<std::is_void_v<T>, char, T>;

 public:
  explicit started(detail::start_state<T>& state) noexcept : state_(state) {}
  started(const started&) = delete;
  started& operator=(const started&) = delete;

  // ready(value), or ready() for a started<void>: start() returns it. Never suspends; not a cancellation point. Throws
  // already_started the second time.
  template <class... Value>
  requires(sizeof...(Value) == (std::is_void_v<T> ? 0 : 1) && std::is_constructible_v<slot, Value&&...>) void
  operator()(Value&&... value) {
    if (state_.reported) throw already_started();
    state_.value.emplace(std::forward<Value>(value)...);
    state_.reported = true;
    state_.complete(nullptr);
  }

 private:
  detail::start_state<T>& state_;
};

}  // namespace thrum
