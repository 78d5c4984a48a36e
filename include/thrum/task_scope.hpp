// Scopes and tasks: tasks as children of a scope, and scopes in tasks.
//
//   thrum::task<int> total(std::vector<std::string> urls) {
//     int sum = 0;
//     co_await thrum::async_with_scope([&](thrum::scope& s) -> thrum::task<> {
//       for (auto& u : urls) thrum::go_in(s, add_size(u, sum));
//       co_return;
//     });                                          // all children have ended here
//     co_return sum;
//   }
//   const int port = co_await s.async_start<int>(serve);   // Until serve(ready), a task, has called ready(port).
//
// A task cannot wait in a destructor. So a scope in a task must have been joined, by co_await s.async_join(), before it
// ends, also when an exception leaves its block; async_with_scope() sees to that.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/scope.hpp>
#include <thrum/task.hpp>

namespace thrum {

namespace detail {

void start_child_task(scope_core& s, void* coroutine, std::source_location where);

inline task<> run_child(scope_core& s, task<> body) {
  try {
    co_await std::move(body);
  } catch (const cancelled&) {
  } catch (...) {
    child_failed(s, std::current_exception());
  }
  body = {};  // What it holds must not outlive the scope.
  child_ended(s);
}

template <class T>
task<> run_child_for_result(std::shared_ptr<future_state<T>> state, task<T> body) {
  std::exception_ptr failure, thrown;
  try {
    if constexpr (std::is_void_v<T>)
      co_await std::move(body);
    else
      state->store(co_await std::move(body));
  } catch (const cancelled&) {
    failure = broken_promise_failure();
    thrown = std::current_exception();
  } catch (...) {
    thrown = failure = std::current_exception();
  }
  body = {};
  std::exchange(state, nullptr)->complete(failure);
  if (thrown) std::rethrow_exception(thrown);
}

// The child of async_start(): as starting_child in scope.hpp.
template <class T, class F>
task<> run_in_own_scope(start_state<T>& state, F& f) {
  scope own;
  const leave_at_the_end inside{state};
  if (!state.enter(*own.core)) co_return;
  started<T> ready(state);
  task<> body = std::invoke(f, ready);
  co_await std::move(body);
}

template <class T, class F>
task<> run_starting_child(std::shared_ptr<start_state<T>> state, F f) {
  std::exception_ptr failure = broken_promise_failure();
  try {
    co_await run_in_own_scope(*state, f);
  } catch (const cancelled&) {
  } catch (...) {
    if (state->reported || state->given_up()) throw;
    failure = std::current_exception();
  }
  if (!state->reported) state->complete(failure);
}

}  // namespace detail

// Starts the task as a child of the scope; its failure fails the scope. Called in the scope, from a fiber or a task.
// Throws as spawn() does, and std::logic_error when the scope has been joined. Does not suspend.
inline void go_in(scope& s, task<> t, std::source_location where = std::source_location::current()) {
  if (!t) throw std::invalid_argument("thrum: an empty task cannot be started");
  auto child = detail::run_child(*s.core, std::move(t));
  detail::task_access::start_with(child,
                                  [&](void* coroutine) { return detail::start_child_task(*s.core, coroutine, where); });
}

// The same, with a result.
template <class T>
[[nodiscard]] future<T> async_in(scope& s, task<T> t, std::source_location where = std::source_location::current()) {
  if (!t) throw std::invalid_argument("thrum: an empty task cannot be started");
  auto state = std::make_shared<detail::future_state<T>>();
  go_in(s, detail::run_child_for_result<T>(state, std::move(t)), where);
  return future<T>(std::move(state));
}

template <class T, class F>
task<T> scope::async_start(F f, std::source_location where) {
  auto state = std::make_shared<detail::start_state<T>>();
  if constexpr (detail::is_task<std::invoke_result_t<F&, started<T>&>>)
    go_in(*this, detail::run_starting_child<T, F>(state, std::move(f)), where);
  else
    detail::start_child(*core, detail::starting_child<T, F>{state, std::move(f)}, where);
  try {
    co_await detail::await_object(*state);
  } catch (const thrum::cancelled&) {
    state->give_up();
    throw;
  }
  state->rethrow_failure();
  if constexpr (!std::is_void_v<T>) co_return std::move(*state->value);
}

// For tasks: runs body(scope&), which makes a task, in a scope of its own, with a deadline from now; ends when all
// children have ended, as scope::join() does. An exception of the body counts as a child's: it cancels the others.
template <class F>
task<> async_with_scope(std::chrono::nanoseconds deadline, F body) {
  scope s{.deadline = deadline};
  try {
    co_await std::invoke(body, s);
  } catch (const cancelled&) {
    s.cancel();  // By this scope or by one further out: join tells.
  } catch (...) {
    detail::child_failed(*s.core, std::current_exception());
  }
  co_await s.async_join();
}

template <class F>
task<> async_with_scope(F body) {
  return async_with_scope(std::chrono::nanoseconds::max(), std::move(body));
}

}  // namespace thrum
