// select: waits for the first of several things.
//
//   thrum::select(requests.on_receive([&](std::optional<request> r) { … }),
//                 replies.on_send(reply, [] { … }),
//                 thrum::after(1s, [] { … }),
//                 thrum::otherwise([] { … }));          // taken when nothing else is ready at once
//
// Chooses uniformly among the clauses that are ready at one instant, runs that clause's function and returns its index
// in the call. Exactly one clause happens; the others leave no trace. Suspends unless something is ready or there is
// an `otherwise`; a cancellation point. A null channel is never chosen. Sending on a closed channel throws
// channel_closed when that clause is chosen; the values of send clauses that were not chosen are destroyed.
//
// The construct and its semantics are Go's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <tuple>
#include <utility>

#include <thrum/detail/deadline.hpp>
#include <thrum/detail/select_core.hpp>

namespace thrum {
namespace detail {

// Room for an element that the core constructs.
template <class T>
class element_storage {
 public:
  void* address() noexcept { return bytes_; }
  std::optional<T> take() noexcept {
    T& element = *std::launder(reinterpret_cast<T*>(bytes_));
    std::optional<T> result(std::move(element));
    element.~T();
    return result;
  }

 private:
  alignas(T) std::byte bytes_[sizeof(T)];
};

template <class T, class F>
class receive_clause {
 public:
  receive_clause(channel_core* channel, F f) : channel_(channel), f_(std::move(f)) {}
  select_clause describe() noexcept { return {clause_kind::receive, channel_, element_.address(), 0}; }
  void fire(channel_result r) {
    if (r == channel_result::done)
      std::invoke(f_, element_.take());
    else
      std::invoke(f_, std::optional<T>());
  }

 private:
  channel_core* channel_;  // Kept alive by the channel that the caller holds during the select.
  F f_;
  element_storage<T> element_;
};

template <class T, class F>
class send_clause {
 public:
  send_clause(channel_core* channel, T value, F f) : channel_(channel), value_(std::move(value)), f_(std::move(f)) {}
  select_clause describe() noexcept { return {clause_kind::send, channel_, std::addressof(value_), 0}; }
  void fire(channel_result r);

 private:
  channel_core* channel_;
  T value_;
  F f_;
};

template <class F>
class timer_clause {
 public:
  timer_clause(std::int64_t deadline_ns, F f) : deadline_ns_(deadline_ns), f_(std::move(f)) {}
  select_clause describe() noexcept { return {clause_kind::timer, nullptr, nullptr, deadline_ns_}; }
  void fire(channel_result) { std::invoke(f_); }

 private:
  std::int64_t deadline_ns_;
  F f_;
};

// Something that holds or does not, or whose end is waited for.
template <class F>
class condition_clause {
 public:
  condition_clause(const select_clause& c, F f) : described_(c), f_(std::move(f)) {}
  select_clause describe() const noexcept { return described_; }
  void fire(channel_result) { std::invoke(f_); }

 private:
  select_clause described_;
  F f_;
};

template <class F>
class otherwise_clause {
 public:
  explicit otherwise_clause(F f) : f_(std::move(f)) {}
  select_clause describe() noexcept { return {clause_kind::otherwise, nullptr, nullptr, 0}; }
  void fire(channel_result) { std::invoke(f_); }

 private:
  F f_;
};

}  // namespace detail

// A clause that is ready once the time has passed.
template <class Rep, class Period, class F>
auto after(std::chrono::duration<Rep, Period> d, F f) {
  return detail::timer_clause<F>(detail::deadline_after(d), std::move(f));
}
template <class Clock, class Duration, class F>
auto at(std::chrono::time_point<Clock, Duration> t, F f) {
  return detail::timer_clause<F>(detail::deadline_at(t), std::move(f));
}

// The clause that is taken when the scope is, or becomes, cancelled: then the select does not throw. Ahead of all
// others.
template <class F>
auto on_cancel(F f) {
  return detail::condition_clause<F>({detail::clause_kind::cancelled}, std::move(f));
}

// The clause that is taken when no other is ready at once. At most one in a select.
template <class F>
auto otherwise(F f) {
  return detail::otherwise_clause<F>(std::move(f));
}

namespace detail {

// Owns the clauses, whose elements are waited with, while the task is suspended.
template <class... Clauses>
class [[nodiscard]] select_awaiter : public suspends_task {
 public:
  explicit select_awaiter(Clauses&&... clauses) : clauses_(std::move(clauses)...) {}
  select_awaiter(const select_awaiter&) = delete;
  select_awaiter& operator=(const select_awaiter&) = delete;

  bool await_ready() {
    std::apply(
        [this](auto&... c) {
          std::size_t i = 0;
          ((arrays_.clauses[i++] = c.describe()), ...);
        },
        clauses_);
    return begin_select(wait_, timer_);
  }
  std::size_t await_resume() {
    const auto chosen = end_select(wait_, timer_);
    std::size_t i = 0;
    std::apply([&](auto&... c) { ((i++ == chosen.index ? c.fire(chosen.result) : void()), ...); }, clauses_);
    return chosen.index;
  }

 private:
  std::tuple<Clauses...> clauses_;
  select_arrays<sizeof...(Clauses)> arrays_;
  select_wait wait_{arrays_.room()};
  async_timer timer_;
};

}  // namespace detail

// As select(), for tasks: co_await it. The clauses' functions must not suspend.
template <class... Clauses>
auto async_select(Clauses... clauses) {
  static_assert(sizeof...(Clauses) > 0, "a select without clauses would wait for ever");
  return detail::select_awaiter<Clauses...>(std::move(clauses)...);
}

// See above. Throws channel_closed, cancelled, and what the function of the chosen clause throws. Any fiber or thread.
template <class... Clauses>
std::size_t select(Clauses&&... clauses) {
  static_assert(sizeof...(Clauses) > 0, "a select without clauses would wait for ever");
  detail::select_arrays<sizeof...(Clauses)> arrays;
  std::size_t i = 0;
  ((arrays.clauses[i++] = clauses.describe()), ...);
  const auto chosen = detail::run_select(arrays.room());
  i = 0;
  ((i++ == chosen.index ? clauses.fire(chosen.result) : void()), ...);
  return chosen.index;
}

}  // namespace thrum
