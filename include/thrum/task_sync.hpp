// What tasks need a coroutine for: call_once, and waiting for guarded data.
//
//   co_await thrum::async_call_once(loaded, [] { return load_tables(); });    // Which may be a task.
//   auto full = co_await thrum::async_wait(table, [](const auto& t) { return t.size() == 10; });
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include <thrum/guarded.hpp>
#include <thrum/once.hpp>
#include <thrum/task.hpp>

namespace thrum {

namespace detail {

struct once_access {
  class [[nodiscard]] begin_awaiter {
   public:
    explicit begin_awaiter(once_flag& flag) noexcept : flag_(flag) {}
    bool await_ready() { return flag_.begin_wait(wait_); }
    template <class Handle>
    void await_suspend(Handle h) noexcept {
      suspend_task(h.address());
    }
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

// As guarded::wait(): until the predicate holds on the data, which is then locked.
template <class T, class Predicate>
task<typename guarded<T>::access> async_wait(guarded<T>& data, Predicate holds) {
  auto a = co_await data.async_lock();
  detail::guarded_access::wait_count<guarded<T>> counted(data);
  while (!holds(std::as_const(*a)))
    co_await detail::guarded_access::changed(data).async_wait(detail::guarded_access::hold(a));
  co_return a;
}

}  // namespace thrum
