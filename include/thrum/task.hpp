// Tasks: stackless coroutines on the same scheduler as fibers, for activities by the million.
//
//   thrum::task<int> answer(thrum::channel<int> questions) {
//     const auto q = co_await questions.async_receive();
//     co_await thrum::async_sleep_for(10ms);
//     co_return *q * 2;
//   }
//   int n = thrum::spawn(answer(ch)).join();        // from a fiber: an activity of its own (task_handle.hpp)
//   int m = co_await answer(ch);                    // from a task: a call
//
// Calling a coroutine allocates its frame, for which it may throw std::bad_alloc, and runs nothing of it; any thread
// may. The task is started lazily: by co_await, which runs it as part of the awaiting task, or by spawn and go, which
// make it an activity of its own. That costs 152 bytes and its coroutine frames, and no stack of its own: it runs on
// its worker's. It waits for the same objects as fibers and threads do, through their async_ twins, and is subject to
// the same cancellation, deadlines, dumps and hand-off of a stuck worker's processor. A function that blocks, called
// from a task, aborts with a sentence that says so.
//
// co_await of a thrum call is a cancellation point where the plain call is one; it throws in the same cases. Chains of
// co_await may be as long as memory allows, in every build.
//
// Trap: a coroutine that is a capturing lambda refers to the lambda, which must outlive it. spawn(lambda) and
// go(lambda) keep it; spawn(lambda()) does not.
//
// The shape of lazily started tasks with symmetric transfer is Lewis Baker's (cppcoro).
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace thrum {

template <class T = void>
class task;

namespace detail {

void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

// What to resume to get to `coroutine`: null when the worker will do it, for which the caller returns to it.
void* transfer(void* coroutine) noexcept;
// The running task's outermost coroutine has ended.
void root_ended(void* coroutine, const std::exception_ptr& failure) noexcept;

inline std::coroutine_handle<> next_coroutine(void* coroutine) noexcept {
  if (void* direct = transfer(coroutine)) return std::coroutine_handle<>::from_address(direct);
  return std::noop_coroutine();
}

struct task_promise_base {
  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }

  std::suspend_always initial_suspend() const noexcept { return {}; }
  struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) const noexcept {
      if (void* c = h.promise().continuation) return next_coroutine(c);
      root_ended(h.address(), h.promise().failure);
      return std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  final_awaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { failure = std::current_exception(); }

  void* continuation = nullptr;  // Who awaits it; null for the outermost coroutine.
  std::exception_ptr failure;
};

template <class T>
struct task_promise : task_promise_base {
  static_assert(!std::is_reference_v<T>, "a task returns a value: use std::ref or a pointer");

  task<T> get_return_object() noexcept;
  template <class U>
  requires std::is_constructible_v<T, U&&>
  void return_value(U&& v) { value.emplace(std::forward<U>(v)); }
  T take() {
    if (failure) std::rethrow_exception(failure);
    return std::move(*value);
  }

  std::optional<T> value;
};

template <>
struct task_promise<void> : task_promise_base {
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const {
    if (failure) std::rethrow_exception(failure);
  }
};

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;
template <class F>
using what_it_makes = std::invoke_result_t<std::decay_t<F>&>;
template <class F>
concept makes_task = is_task<what_it_makes<F>>;

struct task_access;

}  // namespace detail

template <class T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() noexcept = default;
  task(task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  // Destroys the coroutine that it had.
  task& operator=(task&& other) noexcept {
    task moved(std::move(other));
    std::swap(coroutine_, moved.coroutine_);
    return *this;
  }
  // Destroys the coroutine. One that was neither awaited nor started has not run.
  ~task() {
    if (coroutine_) coroutine_.destroy();
  }

  // False: default-constructed, moved from, or started by spawn or go.
  explicit operator bool() const noexcept { return coroutine_ != nullptr; }

  // Runs it, as part of the awaiting task, and gives its result or throws its exception. Once: throws std::logic_error
  // when the task is empty or has been awaited. As any call it suspends, and is cancelled, where the callee is.
  auto operator co_await() && noexcept { return call{coroutine_}; }

 private:
  friend promise_type;
  friend detail::task_access;
  explicit task(std::coroutine_handle<promise_type> c) noexcept : coroutine_(c) {}

  struct call {
    std::coroutine_handle<promise_type> callee;

    bool await_ready() const {
      if (!callee || callee.done()) throw std::logic_error("thrum: a task is awaited once, and must not be empty");
      return false;
    }
    template <class Handle>
    std::coroutine_handle<> await_suspend(Handle caller) const noexcept {
      callee.promise().continuation = caller.address();
      return detail::next_coroutine(callee.address());
    }
    T await_resume() const { return callee.promise().take(); }
  };

  std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

struct task_access {
  // Starts the task as an activity, by starter(coroutine); what has not been started stays the caller's.
  template <class T, class Starter>
  static auto start_with(task<T>& t, Starter starter) {
    if (!t.coroutine_) throw std::invalid_argument("thrum: an empty task cannot be started");
    auto coroutine = std::exchange(t.coroutine_, nullptr);
    try {
      return starter(coroutine.address());
    } catch (...) {
      t.coroutine_ = coroutine;
      throw;
    }
  }
  template <class T>
  static auto coroutine_of(const task<T>& t) noexcept {
    return t.coroutine_;
  }
};

}  // namespace detail

}  // namespace thrum

// The rest of what the example uses.
#include <thrum/task_handle.hpp>
#include <thrum/task_sleep.hpp>
