// What future, shared_future and promise share: a result that arrives once, and who waits for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <thrum/cancelled.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/detail/select_core.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum::detail {

// Something that happens when a result is there, instead of somebody who waits for it. Belongs to whoever registers
// it, and stays where it is until it has run or was withdrawn.
struct continuation {
  // By whoever completes the result, or by when_ready() itself; outside all locks. The continuation may end in it.
  void (*run)(continuation& self) noexcept = nullptr;

  // Guarded by the lock of the result it is registered with.
  continuation* previous = nullptr;
  continuation* next = nullptr;
};

class future_core {
 public:
  // A result has one producer. Where several might try, the first one to ask becomes it.
  bool become_producer() noexcept {
    queue_.lock.touch();
    return !produced_.exchange(true, std::memory_order_relaxed);
  }
  void resign_as_producer() noexcept {
    queue_.lock.touch();
    produced_.store(false, std::memory_order_relaxed);
  }

  // By the producer, who has stored the value unless there is a failure. Wakes who waits, runs the continuations.
  void complete(std::exception_ptr failure) noexcept;

  bool ready() const noexcept;
  bool wait_until_ns(std::int64_t deadline_ns);  // False: timed out. Throws cancelled.
  bool begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns);
  void rethrow_failure() const;  // Once it is ready, as the next.
  bool failed() const noexcept { return failure_ != nullptr; }
  select_clause describe() noexcept;

  // Runs c once the result is there, which may be now.
  void when_ready(continuation& c) noexcept;
  bool withdraw(continuation& c) noexcept;  // False: it has run or is about to.

 private:
  mutable wait_queue queue_;
  continuation* first_ = nullptr;  // Guarded by queue_.lock,
  bool ready_ = false;             // and this,
  std::exception_ptr failure_;     // and this until it is ready.
  std::atomic<bool> produced_{false};
};

template <class T>
struct future_state : future_core {
  using stored = std::conditional_t<std::is_void_v<T>, std::monostate,
                                    std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;
  std::optional<stored> value;  // Written before complete().

  template <class U>
  void store(U&& v) {
    if constexpr (std::is_reference_v<T>)
      value.emplace(std::addressof(v));
    else
      value.emplace(std::forward<U>(v));
  }

  // Once it is ready: the value, moved out, or thrown.
  T take() {
    rethrow_failure();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(**value);
    else if constexpr (!std::is_void_v<T>)
      return std::move(*value);
  }

  // The same, where others may look too.
  using seen = std::conditional_t<std::is_void_v<T> || std::is_reference_v<T>, T, std::add_lvalue_reference_t<const T>>;
  seen look() const {
    rethrow_failure();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(**value);
    else if constexpr (!std::is_void_v<T>)
      return *value;
  }
};

std::exception_ptr broken_promise_failure() noexcept;

// Completes the result with what produce() returns or throws. Tells what it threw; nothing when that was `cancelled`,
// which breaks the promise instead.
template <class T, class Produce>
std::exception_ptr fulfil(future_state<T>& state, Produce&& produce) noexcept {
  std::exception_ptr failure;
  try {
    if constexpr (std::is_void_v<T>)
      produce();
    else
      state.store(produce());
  } catch (const cancelled&) {
    state.complete(broken_promise_failure());
    return nullptr;
  } catch (...) {
    failure = std::current_exception();
  }
  state.complete(failure);
  return failure;
}

// A function and its arguments, to be called once.
template <class F, class... Args>
struct bound_call {
  F function;
  std::tuple<Args...> arguments;

  decltype(auto) operator()() { return std::apply(std::move(function), std::move(arguments)); }
};

}  // namespace thrum::detail
