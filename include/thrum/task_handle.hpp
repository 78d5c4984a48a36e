// Tasks as activities: starting them, and the handle to one.
//
//   thrum::task_handle<int> t = thrum::spawn(answer(ch));   // as thrum::fiber: ~task_handle requests stop and joins
//   int n = t.join();                                       // from a fiber or a thread
//   int m = co_await t.async_join();                        // from a task
//   thrum::go(log(ch));                                     // fire and forget
//
// A task that runs as an activity is to the scheduler what a fiber is: it is queued, stolen, cancelled and dumped
// alike. spawn and go are those of fiber.hpp, for what is or makes a task; without fiber_options, since it has no stack
// and no name. The order in which tasks start is not promised.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/task.hpp>

namespace thrum {

namespace sched {
struct task_control;
}

namespace detail {

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

template <class T>
sched::task_control* start_task(task<T>& t, std::source_location where, bool detached) {
  return task_access::start_with(t, [&](void* coroutine) { return start_task(coroutine, where, detached); });
}

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
  // Ends the task that it had, as the destructor does.
  task_handle& operator=(task_handle&& other) noexcept {
    task_handle moved(std::move(other));
    std::swap(control_, moved.control_);
    std::swap(root_, moved.root_);
    return *this;
  }
  // Requests stop and, but in a task, waits for the end (shielded); in a task, which cannot wait here, the other goes
  // on to its end alone. Its result, or its exception, is dropped.
  ~task_handle() {
    if (control_) detail::drop_task(*control_, root_);
  }

  bool joinable() const noexcept { return control_ != nullptr; }

  // Suspends the fiber, or blocks the thread, until the task has ended. Gives its result or throws its exception;
  // broken_promise when it was cancelled and owes a result. Afterwards not joinable. A cancellation point: then it
  // stays joinable. Throws std::system_error (invalid_argument) when not joinable.
  T join() {
    detail::join_task(checked());
    return take();
  }
  // The same for tasks: co_await it. The handle must stay where it is meanwhile.
  auto async_join() { return join_awaiter(*this); }

  // Cancels it: every wait in it throws `cancelled` from now on. Any thread; does not suspend.
  void request_stop() noexcept {
    if (control_) detail::stop_task(*control_);
  }

  // Lets it go on alone; an exception of it then ends the process. Throws the exception if it has already ended with
  // one, std::system_error (invalid_argument) when not joinable. Does not suspend.
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

  class [[nodiscard]] join_awaiter : public detail::suspends_task {
   public:
    explicit join_awaiter(task_handle& of) : of_(of) {}
    bool await_ready() { return detail::begin_join_task(of_.checked(), wait_); }
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
// std::invalid_argument when it is empty, std::system_error when there is no room for another one, std::bad_alloc. Does
// not suspend; not a cancellation point.
template <class T>
[[nodiscard]] task_handle<T> spawn(task<T> t, std::source_location where = std::source_location::current()) {
  const auto root = detail::task_access::coroutine_of(t);
  return task_handle<T>(detail::start_task(t, where, false), root);
}
// The same without a handle. An exception that leaves it is reported and ends the process, as for fibers; `cancelled`
// is a normal end.
template <class T>
void go(task<T> t, std::source_location where = std::source_location::current()) {
  detail::start_task(t, where, true);
}
// The same for a callable that makes a task: it is called as the task starts, and kept as long as the task lives.
template <detail::makes_task F>
[[nodiscard]] auto spawn(F&& f, std::source_location where = std::source_location::current()) {
  return spawn(detail::call_task<std::decay_t<F>>(std::forward<F>(f)), where);
}
template <detail::makes_task F>
void go(F&& f, std::source_location where = std::source_location::current()) {
  go(detail::call_task<std::decay_t<F>>(std::forward<F>(f)), where);
}

}  // namespace thrum
