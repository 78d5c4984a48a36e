// Fibers: starting them, waiting for them, and what a fiber can do for itself.
//
//   thrum::go([] { serve(); });                          // fire and forget
//   thrum::fiber f = thrum::spawn([] { work(); });       // like std::jthread: ~fiber requests stop and joins
//   f.join();                                            // throws what work() threw
//   thrum::this_fiber::sleep_for(10ms);
//
// A fiber costs about 4.5 KiB until it uses more than a page of stack; one that has not started holds no stack. The
// order in which fibers start is not promised; the newest tends to be first.
// The idea of `go` is Go's, of the handle std::jthread's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>

namespace thrum {

namespace sched {
class scheduler;
struct activity;
struct fiber_control;
}  // namespace sched

struct fiber_options {
  std::string_view name = {};  // Shown in dumps and reports; copied, cut to 31 bytes.
  std::size_t stack_size = 0;  // Bytes, rounded up to a power of two; 0: the runtime's default.
};

class fiber;

namespace detail {

struct fiber_access;
struct end_access;

// A fiber that has been created but not started; the closure is built at `storage`.
struct unstarted {
  sched::fiber_control* control;
  void* storage;
};

// `home` null: the calling fiber's runtime. Throws std::logic_error outside any runtime; std::bad_alloc or
// std::system_error when there is no room for another fiber.
unstarted create_fiber(sched::scheduler* home, std::size_t closure_size, std::size_t closure_align,
                       const fiber_options& options, std::source_location where);
void abandon_fiber(unstarted u) noexcept;
void start_fiber(unstarted u, void (*run)(void*), bool detached) noexcept;

template <class F>
sched::fiber_control* launch(sched::scheduler* home, const fiber_options& options, F&& f, std::source_location where,
                             bool detached) {
  using closure = std::decay_t<F>;
  static_assert(std::is_invocable_v<closure&>, "a fiber's function takes no arguments");
  static_assert(
      !requires { typename std::invoke_result_t<closure&>::promise_type; },
      "a fiber would not run the coroutine that its function makes: include <thrum/task.hpp> for thrum::task, "
      "which go and spawn start as a task, without fiber_options");
  const auto u = create_fiber(home, sizeof(closure), alignof(closure), options, where);
  if constexpr (std::is_nothrow_constructible_v<closure, F&&>) {
    new (u.storage) closure(std::forward<F>(f));
  } else {
    try {
      new (u.storage) closure(std::forward<F>(f));
    } catch (...) {
      abandon_fiber(u);
      throw;
    }
  }
  start_fiber(
      u,
      [](void* p) {
        // Destroyed on the fiber, also when it throws.
        struct destroyer {
          closure& c;
          ~destroyer() { c.~closure(); }
        } guard{*static_cast<closure*>(p)};
        std::invoke(guard.c);
      },
      detached);
  return u.control;
}

}  // namespace detail

// Starts f() as a fiber of the calling fiber's runtime. An exception that leaves it is reported and ends the process,
// as for std::thread; `cancelled` is a normal end. Does not suspend; not a cancellation point.
template <class F>
void go(F&& f, std::source_location where = std::source_location::current()) {
  detail::launch(nullptr, {}, std::forward<F>(f), where, true);
}
template <class F>
void go(const fiber_options& options, F&& f, std::source_location where = std::source_location::current()) {
  detail::launch(nullptr, options, std::forward<F>(f), where, true);
}

// A handle to a fiber. Owned by one thread or fiber at a time.
class fiber {
 public:
  fiber() noexcept = default;
  fiber(fiber&& other) noexcept : control_(std::exchange(other.control_, nullptr)) {}
  fiber& operator=(fiber&& other) noexcept {
    if (this != &other) {
      if (control_) end();
      control_ = std::exchange(other.control_, nullptr);
    }
    return *this;
  }
  // Requests stop and joins, shielded from cancellation; an exception of the fiber is dropped.
  ~fiber() {
    if (control_) end();
  }

  bool joinable() const noexcept { return control_ != nullptr; }

  // Suspends until the fiber has ended; throws what it threw. Afterwards not joinable. A cancellation point: then the
  // fiber stays joinable. Throws std::system_error (invalid_argument) when not joinable. Also from plain threads.
  void join();
  // The same for tasks: co_await it.
  auto async_join() { return join_awaiter(*this); }

  // Cancels the fiber: every call in it that may suspend throws `cancelled` from now on. Any thread.
  void request_stop() noexcept;

  // Lets it go on alone; an exception of it then ends the process. Throws the exception if it has already ended with
  // one, std::system_error (invalid_argument) when not joinable.
  void detach();

  // Unique in its runtime; 0 when not joinable.
  std::uint64_t get_id() const noexcept;

 private:
  friend struct detail::fiber_access;
  friend struct detail::end_access;
  explicit fiber(sched::fiber_control* control) noexcept : control_(control) {}
  void end() noexcept;
  bool begin_join(detail::async_wait& w);
  void end_join(const detail::async_wait& w);
  void take_result();
  sched::activity* activity() const noexcept;

  class [[nodiscard]] join_awaiter : public detail::suspends_task {
   public:
    explicit join_awaiter(fiber& of) noexcept : of_(of) {}
    bool await_ready() { return of_.begin_join(wait_); }
    void await_resume() { of_.end_join(wait_); }

   private:
    fiber& of_;
    detail::async_wait wait_;
  };

  sched::fiber_control* control_ = nullptr;
};

namespace detail {
struct fiber_access {
  static fiber make(sched::fiber_control* control) noexcept { return fiber(control); }
};
}  // namespace detail

// Starts f() as a fiber of the calling fiber's runtime and returns its handle.
template <class F>
[[nodiscard]] fiber spawn(F&& f, std::source_location where = std::source_location::current()) {
  return detail::fiber_access::make(detail::launch(nullptr, {}, std::forward<F>(f), where, false));
}
template <class F>
[[nodiscard]] fiber spawn(const fiber_options& options, F&& f,
                          std::source_location where = std::source_location::current()) {
  return detail::fiber_access::make(detail::launch(nullptr, options, std::forward<F>(f), where, false));
}

// The calling fiber. On plain threads the sleeps and yield act on the thread.
namespace this_fiber {

// Lets others run. A cancellation point.
void yield();

namespace detail_sleep {
void until_ns(std::int64_t deadline_ns);
}

// Suspends for at least this long. A cancellation point. Durations of zero or less yield.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> d) {
  detail_sleep::until_ns(detail::deadline_after(d));
}
template <class Clock, class Duration>
void sleep_until(std::chrono::time_point<Clock, Duration> t) {
  detail_sleep::until_ns(detail::deadline_at(t));
}

// The fiber's number, unique in its runtime; 0 on a plain thread.
std::uint64_t get_id() noexcept;
// Shown in dumps; copied, cut to 31 bytes. Does nothing on a plain thread.
void set_name(std::string_view name) noexcept;
// Whether the innermost scope has been cancelled.
bool stop_requested() noexcept;
bool in_fiber() noexcept;

}  // namespace this_fiber
}  // namespace thrum
