// Structured concurrency: a scope owns the fibers started in it; none outlives it.
//
//   thrum::scope s{.deadline = 2s};
//   auto a = s.async(fetch, url_a);          // future
//   s.go([] { background(); });
//   auto port = s.start<int>(serve);         // waits until serve(ready) has called ready(port)
//   s.join();                                // waits for all; throws the first failure; timed_out when expired
//
// The first failure of a child cancels the others. Cancellation is level-triggered: in a cancelled or expired scope,
// that is in the fiber that opened it and in all fibers below it, every call that may suspend throws `cancelled`, also
// when it would not have had to wait, and what it would have done did not happen. The scope absorbs it: join() of a
// scope that was cancelled by cancel() returns normally, once all children have ended.
//
// Scopes nest, and end in the reverse order of their opening (they are local variables). A scope belongs to the fiber
// that opened it; go(), async(), start() may be called by any fiber in it, cancel() by anybody. Tasks open scopes, and
// are children of them, as well: task_scope.hpp.
//
// The idea is that of trio's nurseries and cancel scopes.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/cancelled.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/started.hpp>

namespace thrum {

template <class T>
class task;

// The deadline of a scope passed before its work was done.
class timed_out : public std::runtime_error {
 public:
  timed_out() : std::runtime_error("thrum: the scope's deadline has passed") {}
};

namespace detail {

class scope_core;
struct scope_closer {
  void operator()(scope_core* s) const noexcept;  // Cancels, waits for the children, and closes.
};
using scope_handle = std::unique_ptr<scope_core, scope_closer>;

// Throws std::logic_error on a thread that runs no fiber.
scope_handle open_scope(std::chrono::nanoseconds deadline, bool shield);
void join_scope(scope_core& s);
bool begin_join_scope(scope_core& s, async_wait& w);
void end_join_scope(scope_core& s, async_wait& w);
void cancel_scope(scope_core& s) noexcept;
bool scope_cancelled(const scope_core& s) noexcept;
bool scope_expired(const scope_core& s) noexcept;
std::vector<std::exception_ptr> scope_failures(const scope_core& s);

// A child between its creation and its end.
unstarted create_child(scope_core& s, std::size_t closure_size, std::size_t closure_align, std::source_location where);
void abandon_child(scope_core& s, unstarted u) noexcept;
void child_failed(scope_core& s, std::exception_ptr failure) noexcept;
void child_ended(scope_core& s) noexcept;  // By the child, as its last use of the scope.

template <class F>
class scope_child {
 public:
  scope_child(scope_core& s, F&& f) : scope_(s), function_(std::move(f)) {}
  void operator()() {
    try {
      (*function_)();
    } catch (const cancelled&) {
    } catch (...) {
      child_failed(scope_, std::current_exception());
    }
    function_.reset();  // What it captured must not outlive the scope.
    child_ended(scope_);
  }

 private:
  scope_core& scope_;
  std::optional<F> function_;
};

template <class F>
void start_child(scope_core& s, F&& f, std::source_location where) {
  using child = scope_child<std::decay_t<F>>;
  const auto u = create_child(s, sizeof(child), alignof(child), where);
  try {
    new (u.storage) child(s, std::decay_t<F>(std::forward<F>(f)));
  } catch (...) {
    abandon_child(s, u);
    throw;
  }
  start_fiber(
      u,
      [](void* p) {
        auto& c = *static_cast<child*>(p);
        c();
        c.~child();
      },
      true);
}

}  // namespace detail

// An aggregate, so that its options can be named: scope s{.deadline = 2s};
struct scope {
  std::chrono::nanoseconds deadline = std::chrono::nanoseconds::max();  // From now.
  bool shield = false;  // Cancellation from outside stops here; its own deadline and cancel() still work.

  // Not an option. Throws std::logic_error on a plain thread: a scope is opened in a fiber or a task.
  detail::scope_handle core = detail::open_scope(deadline, shield);

  // Starts f() as a child. Does not suspend. In a cancelled scope the child starts and is cancelled at its first wait.
  // Throws what thrum::go() throws, and std::logic_error when the scope has been joined.
  template <class F>
  void go(F&& f, std::source_location where = std::source_location::current()) {
    detail::start_child(*core, std::forward<F>(f), where);
  }

  // The same, with a result. A failure also fails the scope.
  template <class F, class... Args>
  auto async(F&& f, Args&&... args) {
    using bound = detail::bound_call<std::decay_t<F>, std::decay_t<Args>...>;
    using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
    auto state = std::make_shared<detail::future_state<result>>();
    detail::start_child(*core, call<result, bound>{state, bound{std::forward<F>(f), {std::forward<Args>(args)...}}},
                        std::source_location::current());
    return future<result>(std::move(state));
  }

  // Starts f(ready) as a child, where `ready` is a started<T>&, and waits until f has called ready(value), which it
  // returns, while f goes on; start<void> for ready(). Suspends; a cancellation point, and then the child is cancelled.
  // Throws what f throws before it is ready, which does not fail the scope, and broken_promise when f ends before.
  template <class T, class F>
  T start(F&& f, std::source_location where = std::source_location::current());
  // The same for tasks, with <thrum/task_scope.hpp>: co_await it. f(ready) makes a task, or runs in a fiber. The scope
  // must outlive the call.
  template <class T, class F>
  task<T> async_start(F f, std::source_location where = std::source_location::current());

  // Waits for all children, also those started meanwhile, and closes the scope. Throws the first failure; timed_out
  // when the deadline has passed; cancelled when an outer scope is cancelled. Waits for cancelled children too.
  void join() { detail::join_scope(*core); }
  // The same for tasks: co_await it, before the scope ends. async_with_scope() in task_scope.hpp does so by itself.
  auto async_join() { return join_awaiter(*core); }

  // None of these suspends. Any thread.
  void cancel() noexcept { detail::cancel_scope(*core); }
  bool cancelled() const noexcept { return detail::scope_cancelled(*core); }
  bool expired() const noexcept { return detail::scope_expired(*core); }

  // All failures of children so far, the first one first. Children that were merely cancelled have not failed.
  std::vector<std::exception_ptr> failures() const { return detail::scope_failures(*core); }

  // ~scope: cancels and waits for the children (shielded); failures that join() has not thrown are dropped.

 private:
  class [[nodiscard]] join_awaiter : public detail::suspends_task {
   public:
    explicit join_awaiter(detail::scope_core& s) noexcept : scope_(s) {}
    bool await_ready() { return detail::begin_join_scope(scope_, wait_); }
    void await_resume() { detail::end_join_scope(scope_, wait_); }

   private:
    detail::scope_core& scope_;
    detail::async_wait wait_;
  };

  template <class Result, class Bound>
  struct call {
    std::shared_ptr<detail::future_state<Result>> state;
    Bound bound;

    void operator()() {
      if (auto failure = detail::fulfil(*state, bound)) std::rethrow_exception(std::move(failure));
    }
  };
};

namespace detail {

template <class T, class F>
struct starting_child {
  std::shared_ptr<start_state<T>> state;
  F function;

  void operator()() {
    std::exception_ptr failure = std::make_exception_ptr(broken_promise());
    try {
      run();
    } catch (const cancelled&) {
    } catch (...) {
      // Once it was ready, or when nobody listens, its failure is the scope's.
      if (state->reported || state->given_up()) throw;
      failure = std::current_exception();
    }
    if (!state->reported) state->complete(failure);
  }

 private:
  void run() {
    scope own;
    const leave_at_the_end inside{*state};
    if (!state->enter(*own.core)) return;
    started<T> ready(*state);
    std::invoke(function, ready);
  }
};

}  // namespace detail

template <class T, class F>
T scope::start(F&& f, std::source_location where) {
  auto state = std::make_shared<detail::start_state<T>>();
  detail::start_child(*core, detail::starting_child<T, std::decay_t<F>>{state, std::forward<F>(f)}, where);
  try {
    state->wait_until_ns(detail::never);
  } catch (const thrum::cancelled&) {
    state->give_up();
    throw;
  }
  state->rethrow_failure();
  if constexpr (!std::is_void_v<T>) return std::move(*state->value);
}

// Runs body(scope&) in a scope with a deadline from now, joins it, and absorbs the cancellation that the scope itself
// caused in the body. Suspends, a cancellation point, and throws, as join() and the body do.
template <class Body>
void with_scope(std::chrono::nanoseconds deadline, Body&& body) {
  scope s{.deadline = deadline};
  try {
    std::invoke(std::forward<Body>(body), s);
  } catch (const cancelled&) {
    if (!s.cancelled()) throw;
  }
  s.join();
}

}  // namespace thrum
