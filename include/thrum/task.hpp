// Tasks: stackless coroutines on the same scheduler as fibers, for activities by the million.
//
//   thrum::task<int> answer(thrum::channel<int> questions) {
//     const auto q = co_await questions.async_receive();
//     co_await thrum::async_sleep_for(10ms);
//     co_return *q * 2;
//   }
//   int n = thrum::spawn(answer(ch)).join();        // from a fiber or a thread
//   int m = co_await answer(ch);                    // from a task: a call
//
// A task is started lazily: by co_await, which runs it as part of the awaiting task, or by spawn and go, which make it
// an activity of its own. It costs some 160 bytes and its coroutine frames, and no stack of its own: it runs on its
// worker's. It waits for the same objects as fibers and threads do, through their async_ twins, and is subject to the
// same cancellation, deadlines, dumps and hand-off of a stuck worker's processor. A function that blocks, called from a
// task, aborts with a sentence that says so.
//
// co_await of a thrum call is a cancellation point where the plain call is one; it throws in the same cases. Chains of
// co_await may be as long as memory allows, in every build.
//
// Trap: a coroutine that is a capturing lambda refers to the lambda, which must outlive it. spawn(lambda) and
// go(lambda) keep it; spawn(lambda()) does not.
//
// The shape of lazily started tasks with symmetric transfer is Lewis Baker's (cppcoro).
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>

namespace thrum {

template <class T = void>
class task;

namespace sched {
struct task_control;
}

namespace detail {

void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

// What to resume to get to `coroutine`: null when the worker will do it, for which the caller returns to it.
void* transfer(void* coroutine) noexcept;
// The running task's outermost coroutine has ended.
void root_ended(void* coroutine, const std::exception_ptr& failure) noexcept;

sched::task_control* start_task(void* coroutine, std::source_location where, bool detached);
void join_task(sched::task_control& t);
void stop_task(sched::task_control& t) noexcept;
void drop_task(sched::task_control& t, std::coroutine_handle<> root) noexcept;  // Nobody will ask how it ended.
bool detach_task(sched::task_control& t) noexcept;  // False: it has ended, and its frame belongs to the caller.
void release_task(sched::task_control& t) noexcept;
sched::activity* activity_of(sched::task_control* t) noexcept;
std::uint64_t task_id(const sched::task_control& t) noexcept;
bool begin_join_task(sched::task_control& t, async_wait& w);
void end_join_task(sched::task_control& t, const async_wait& w);

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
concept makes_task = is_task < std::invoke_result_t < std::decay_t<F>
& >> ;

struct task_access;

}  // namespace detail

template <class T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() noexcept = default;
  task(task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  ~task() {
    if (coroutine_) coroutine_.destroy();
  }

  explicit operator bool() const noexcept { return coroutine_ != nullptr; }

  // Runs it, as part of the awaiting task, and gives its result or throws its exception. Once: throws std::logic_error
  // when the task is empty or has been awaited.
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
  static sched::task_control* start(task<T>& t, std::source_location where, bool detached) {
    return start_with(t, [&](void* coroutine) { return start_task(coroutine, where, detached); });
  }
  template <class T>
  static auto coroutine_of(const task<T>& t) noexcept {
    return t.coroutine_;
  }
};

// Keeps the callable that the coroutine refers to.
template <class F>
auto call_task(F f) -> std::invoke_result_t<F&> {
  co_return co_await std::invoke(f);
}

}  // namespace detail

// A handle to a task that runs as an activity of its own. Owned by one thread, fiber or task at a time.
template <class T = void>
class [[nodiscard]] task_handle {
 public:
  task_handle() noexcept = default;
  task_handle(task_handle&& other) noexcept
      : control_(std::exchange(other.control_, nullptr)), root_(std::exchange(other.root_, nullptr)) {}
  task_handle& operator=(task_handle&& other) noexcept {
    std::swap(control_, other.control_);
    std::swap(root_, other.root_);
    return *this;
  }
  // Requests stop and, but in a task, waits for the end (shielded); in a task, which cannot wait here, the other goes
  // on to its end alone. Its result, or its exception, is dropped.
  ~task_handle() {
    if (control_) detail::drop_task(*control_, root_);
  }

  bool joinable() const noexcept { return control_ != nullptr; }

  // Suspends the fiber, or blocks the thread, until the task has ended. Gives its result or throws its exception;
  // broken_promise when it was cancelled and has no result. A cancellation point: then it stays joinable. Throws
  // std::system_error (invalid_argument) when not joinable.
  T join() {
    detail::join_task(checked());
    return take();
  }
  // The same for tasks: co_await it.
  auto async_join() { return join_awaiter(*this); }

  // Cancels it: every wait in it throws `cancelled` from now on. Any thread.
  void request_stop() noexcept {
    if (control_) detail::stop_task(*control_);
  }

  // Lets it go on alone; an exception of it then ends the process. Throws the exception if it has already ended with
  // one, std::system_error (invalid_argument) when not joinable.
  void detach() {
    if (detail::detach_task(checked())) {
      control_ = nullptr;
      return;
    }
    take();
  }

  // Unique in its runtime, among fibers too; 0 when not joinable.
  std::uint64_t get_id() const noexcept { return control_ ? detail::task_id(*control_) : 0; }

 private:
  using root = std::coroutine_handle<detail::task_promise<T>>;
  friend struct detail::end_access;
  template <class U>
  friend task_handle<U> spawn(task<U> t, std::source_location where);

  task_handle(sched::task_control* control, root r) noexcept : control_(control), root_(r) {}

  sched::task_control& checked() const {
    if (!control_)
      throw std::system_error(std::make_error_code(std::errc::invalid_argument), "thrum: task not joinable");
    return *control_;
  }
  sched::activity* activity() const noexcept { return detail::activity_of(control_); }
  T take() {
    const struct closer {
      sched::task_control* control;
      root frame;
      ~closer() {
        frame.destroy();
        detail::release_task(*control);
      }
    } close{std::exchange(control_, nullptr), root_};
    try {
      if constexpr (!std::is_void_v<T>) {
        return close.frame.promise().take();
      } else {
        close.frame.promise().take();
      }
    } catch (const cancelled&) {
      if constexpr (!std::is_void_v<T>) throw broken_promise();
    }
  }

  class [[nodiscard]] join_awaiter {
   public:
    explicit join_awaiter(task_handle& of) : of_(of) {}
    bool await_ready() { return detail::begin_join_task(of_.checked(), wait_); }
    template <class Handle>
    void await_suspend(Handle h) noexcept {
      detail::suspend_task(h.address());
    }
    T await_resume() {
      detail::end_join_task(*of_.control_, wait_);
      return of_.take();
    }

   private:
    task_handle& of_;
    detail::async_wait wait_;
  };

  sched::task_control* control_ = nullptr;
  root root_;
};

// Starts the task as an activity of the calling fiber's or task's runtime. Throws std::logic_error outside any runtime,
// std::invalid_argument when it is empty, std::system_error when there is no room for another one. Does not suspend.
template <class T>
[[nodiscard]] task_handle<T> spawn(task<T> t, std::source_location where = std::source_location::current()) {
  const auto root = detail::task_access::coroutine_of(t);
  return task_handle<T>(detail::task_access::start(t, where, false), root);
}
// An exception that leaves it is reported and ends the process, as for fibers; `cancelled` is a normal end.
template <class T>
void go(task<T> t, std::source_location where = std::source_location::current()) {
  detail::task_access::start(t, where, true);
}
// The same for a callable that makes a task: it is kept as long as the task lives.
template <detail::makes_task F>
[[nodiscard]] auto spawn(F&& f, std::source_location where = std::source_location::current()) {
  return spawn(detail::call_task<std::decay_t<F>>(std::forward<F>(f)), where);
}
template <detail::makes_task F>
void go(F&& f, std::source_location where = std::source_location::current()) {
  go(detail::call_task<std::decay_t<F>>(std::forward<F>(f)), where);
}

namespace detail {

class [[nodiscard]] sleep_awaiter {
 public:
  explicit sleep_awaiter(std::int64_t deadline_ns) noexcept { timer_.set_deadline_ns(deadline_ns); }
  bool await_ready();
  template <class Handle>
  void await_suspend(Handle h) noexcept {
    suspend_task(h.address());
  }
  void await_resume();

 private:
  async_timer timer_;
};

class [[nodiscard]] yield_awaiter {
 public:
  bool await_ready() const;
  template <class Handle>
  void await_suspend(Handle h) const noexcept {
    suspend_task(h.address());
  }
  void await_resume() const noexcept {}
};

}  // namespace detail

// Suspends the task for at least this long. A cancellation point. Durations of zero or less yield.
template <class Rep, class Period>
auto async_sleep_for(std::chrono::duration<Rep, Period> d) {
  return detail::sleep_awaiter(detail::deadline_after(d));
}
template <class Clock, class Duration>
auto async_sleep_until(std::chrono::time_point<Clock, Duration> t) {
  return detail::sleep_awaiter(detail::deadline_at(t));
}
// Lets others run. A cancellation point.
inline auto async_yield() { return detail::yield_awaiter(); }

}  // namespace thrum
