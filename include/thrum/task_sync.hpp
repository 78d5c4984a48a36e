// What tasks need a coroutine for: call_once, and waiting for a condition, of guarded data or with a condition
// variable.
//
//   co_await thrum::async_call_once(loaded, [] { return load_tables(); });    // Which may be a task.
//   auto full = co_await thrum::async_wait(table, [](const auto& t) { return t.size() == 10; });
//   co_await changed.async_wait(hold, [&] { return done; });
//
// All suspend and are cancellation points. What they are given by reference must outlive them; functions are kept, and
// are called under the lock, where they must not wait.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <type_traits>
#include <utility>

#include <thrum/clock.hpp>
#include <thrum/condition_variable.hpp>
#include <thrum/guarded.hpp>
#include <thrum/once.hpp>
#include <thrum/task.hpp>
#include <thrum/wait_on_address.hpp>

namespace thrum {

namespace detail {

struct once_access {
  class [[nodiscard]] begin_awaiter : public suspends_task {
   public:
    explicit begin_awaiter(once_flag& flag) noexcept : flag_(flag) {}
    bool await_ready() { return flag_.begin_wait(wait_); }
    bool await_resume() { return flag_.end_wait(wait_); }

   private:
    once_flag& flag_;
    async_wait wait_;
  };
  static bool is_done(const once_flag& flag) noexcept {
    return flag.state_.load(std::memory_order_acquire) == once_flag::done;
  }
  static void end(once_flag& flag, bool succeeded) noexcept { flag.end(succeeded); }
};

struct guarded_access {
  template <class Guarded>
  struct wait_count {
    Guarded& g;
    explicit wait_count(Guarded& of) noexcept : g(of) { g.waiting_.fetch_add(1, std::memory_order_relaxed); }
    ~wait_count() { g.waiting_.fetch_sub(1, std::memory_order_relaxed); }
  };
  template <class Access>
  static auto& hold(Access& a) noexcept {
    return a.hold_;
  }
  template <class Guarded>
  static auto& changed(Guarded& g) noexcept {
    return g.changed_;
  }
};

// Of what a task has unlocked.
template <class Mutex>
task<> lock_again(std::unique_lock<Mutex>& hold) {
  Mutex& m = *hold.mutex();
  co_await m.async_lock();
  hold = std::unique_lock<Mutex>(m, std::adopt_lock);
}
template <class Mutex>
task<> lock_again(std::shared_lock<Mutex>& hold) {
  Mutex& m = *hold.mutex();
  co_await m.async_lock_shared();
  hold = std::shared_lock<Mutex>(m, std::adopt_lock);
}

}  // namespace detail

// As call_once(): f is a function, or makes a task that is awaited. A cancellation point where it waits for another.
template <class F>
task<> async_call_once(once_flag& flag, F f) {
  if (detail::once_access::is_done(flag)) co_return;
  if (!co_await detail::once_access::begin_awaiter(flag)) co_return;
  struct ending {
    once_flag& flag;
    bool succeeded = false;
    ~ending() { detail::once_access::end(flag, succeeded); }
  } e{flag};
  if constexpr (detail::makes_task<F>)
    co_await std::invoke(f);
  else
    std::invoke(f);
  e.succeeded = true;
}

template <class Predicate>
task<void> condition_variable::async_wait(std::unique_lock<mutex>& hold, Predicate done) {
  while (!done()) {
    const detail::shown_predicate shown(done, *hold.mutex());
    (void)co_await async_wait_shown(hold, detail::never, &shown);
  }
}
template <class Predicate>
task<bool> condition_variable::async_wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                                                   Predicate done) {
  while (!done()) {
    const bool notified = co_await async_wait_until_ns(hold, deadline_ns);
    if (!notified) co_return done();
  }
  co_return true;
}

template <class Lock>
task<bool> condition_variable_any::async_wait_shown(Lock& hold, std::int64_t deadline_ns,
                                                    const detail::shown_predicate* shown) {
  const auto change = change_after(changes_.load(std::memory_order_acquire), shown);
  hold.unlock();
  bool changed = false;
  std::exception_ptr failure;
  try {
    changed = co_await detail::async_wait_until_ns(change, deadline_ns);
  } catch (...) {
    failure = std::current_exception();
  }
  auto relocking = detail::lock_again(hold);
  co_await std::move(relocking);
  if (failure) std::rethrow_exception(failure);
  co_return changed;
}
template <class Lock, class Predicate>
task<bool> condition_variable_any::async_wait_until_ns(Lock& hold, std::int64_t deadline_ns, Predicate done) {
  while (!done()) {
    const bool notified = co_await async_wait_until_ns(hold, deadline_ns);
    if (!notified) co_return done();
  }
  co_return true;
}
template <class Lock>
task<void> condition_variable_any::async_wait(Lock& hold) {
  (void)co_await async_wait_until_ns(hold, detail::never);
}
template <class Lock, class Predicate>
task<void> condition_variable_any::async_wait(Lock& hold, Predicate done) {
  while (!done()) {
    const detail::shown_predicate shown(done, hold);
    (void)co_await async_wait_shown(hold, detail::never, &shown);
  }
}

// As guarded::wait(): until the predicate holds on the data, which is then locked.
template <class T, class Mutex, class Predicate>
task<typename guarded<T, Mutex>::access> async_wait(guarded<T, Mutex>& data, Predicate holds) {
  auto a = co_await data.async_lock();
  detail::guarded_access::wait_count<guarded<T, Mutex>> counted(data);
  if (!holds(std::as_const(*a))) {
    auto waiting = detail::guarded_access::changed(data).async_wait(detail::guarded_access::hold(a),
                                                                    [&] { return holds(std::as_const(*a)); });
    co_await std::move(waiting);
  }
  co_return a;
}

// The same with a limit: empty when the time is up and the predicate still does not hold.
template <class T, class Mutex, class Clock, class Duration, class Predicate>
task<std::optional<typename guarded<T, Mutex>::access>> async_wait_until(guarded<T, Mutex>& data,
                                                                         std::chrono::time_point<Clock, Duration> t,
                                                                         Predicate holds) {
  auto a = co_await data.async_lock();
  detail::guarded_access::wait_count<guarded<T, Mutex>> counted(data);
  auto waiting = detail::guarded_access::changed(data).async_wait_until(detail::guarded_access::hold(a), t,
                                                                        [&] { return holds(std::as_const(*a)); });
  const bool held = co_await std::move(waiting);
  if (!held) co_return std::nullopt;
  co_return a;
}
template <class T, class Mutex, class Rep, class Period, class Predicate>
auto async_wait_for(guarded<T, Mutex>& data, std::chrono::duration<Rep, Period> d, Predicate holds) {
  return async_wait_until(data, detail::time_after(d), std::move(holds));
}

}  // namespace thrum
