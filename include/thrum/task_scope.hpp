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
//
// A task cannot wait in a destructor. So a scope in a task must have been joined, by co_await s.async_join(), before it
// ends, also when an exception leaves its block; async_with_scope() sees to that.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
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
