// Doing many things at a time, in tasks: the twins of concurrent.hpp.
//
//   co_await thrum::async_for_each_concurrent(urls, 64, fetch);             // fetch(url) makes a task; 64 at a time.
//   auto pages = co_await thrum::async_map_concurrent(urls, 64, fetch);     // The results, in the order of the urls.
//   auto fastest = co_await thrum::async_race(ask(replica_1), ask(replica_2));
//   auto [x, y] = co_await thrum::async_join_all(a, b);                     // The results of two futures.
//   co_await thrum::async_parallel_for(0, n, [&](long i) { out[i] = f(in[i]); });   // In fibers, over all workers.
//   auto sum = co_await thrum::async_parallel_reduce(0, n, 0.0, std::plus<>(), [&](long i) { return in[i]; });
//
// All of them are tasks: they do nothing before they are awaited (or started), suspend, and are cancellation points.
// They are scopes as their namesakes are: they end when everything they started has ended, the first failure cancels
// the rest and is thrown, and cancellation from outside reaches everything. They keep their functions, and what is
// passed as a temporary; a range or a future that has a name must outlive them.
//
// With GCC 12 a lambda inside a co_await expression must not capture by value what has a destructor: name it before.
//
// A limit is the number of child tasks, which take the items one after the other. Taking an item must not wait: a range
// over a channel is for fibers.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/concurrent.hpp>
#include <thrum/future.hpp>
#include <thrum/scope.hpp>
#include <thrum/task.hpp>
#include <thrum/task_scope.hpp>

namespace thrum {

namespace detail {

// Calls start(scope), which starts children, and awaits them, also when it could not start all.
template <class Start>
task<> await_children(Start start) {
  scope s;
  try {
    start(s);
  } catch (...) {
    child_failed(*s.core, std::current_exception());
  }
  co_await s.async_join();
}

// One of the children that visit the items.
template <class Source, class F>
task<> visit_items(Source& source, F& f) {
  while (!this_fiber::stop_requested()) {
    std::unique_lock<mutex> hold;
    if constexpr (requires { source.lock(); }) hold = co_await source.lock().async_scoped_lock();
    auto taken = source.take();
    if (hold.owns_lock()) hold.unlock();
    if (!taken) co_return;
    using item_type = decltype(source.item(*taken));
    item_type item = source.item(*taken);
    auto visit = std::invoke(f, static_cast<item_type&&>(item));
    static_assert(is_task<decltype(visit)>, "the function has to make a task");
    static_cast<void>(co_await std::move(visit));
  }
}

template <class View, class F>
task<> visit_all(View items, std::size_t limit, F f) {
  checked_limit(limit);
  if constexpr (std::ranges::sized_range<View>)
    limit = std::min(limit, static_cast<std::size_t>(std::ranges::size(items)));
  item_source<View> source(items);
  auto children = await_children([&](scope& s) {
    for (std::size_t i = 0; i < limit; ++i) go_in(s, visit_items(source, f));
  });
  co_await std::move(children);
}

template <class View, class F>
using mapped = std::invoke_result_t<F&, std::ranges::range_reference_t<View>>;

template <class Source, class Slots, class F>
task<> map_items(Source& source, Slots& slots, F& f) {
  while (!this_fiber::stop_requested()) {
    const auto place = source.take();
    if (!place) co_return;
    using item_type = decltype(source.item(*place));
    item_type item = source.item(*place);
    auto mapping = std::invoke(f, static_cast<item_type&&>(item));
    slots[*place].emplace(co_await std::move(mapping));
  }
}

template <class Result, class View, class F>
task<std::vector<Result>> map_all(View items, std::size_t limit, F f) {
  numbered_items<View> source(items);
  limit = std::min(checked_limit(limit), source.count());
  std::vector<std::optional<Result>> slots(source.count());
  auto children = await_children([&](scope& s) {
    for (std::size_t i = 0; i < limit; ++i) go_in(s, map_items(source, slots, f));
  });
  co_await std::move(children);
  co_return gathered(slots);
}

// A task, or what makes one.
template <class F>
auto task_from(F& f) {
  if constexpr (is_task<F>)
    return std::move(f);
  else
    return std::invoke(f);
}
template <class F>
using task_value = typename decltype(task_from(std::declval<F&>()))::value_type;

template <class Result>
struct race_state {
  std::optional<not_void<Result>> first;  // Written by who first sets the flag.
  std::exception_ptr first_failure;       // The same.
  std::atomic<bool> have_result{false}, have_failure{false};
};

template <class Result, class F>
task<> run_in_race(race_state<Result>& state, scope& s, F& f) {
  try {
    auto entrant = task_from(f);
    if constexpr (std::is_void_v<Result>) {
      co_await std::move(entrant);
      if (!state.have_result.exchange(true)) state.first.emplace();
    } else {
      Result r = co_await std::move(entrant);
      if (!state.have_result.exchange(true)) state.first.emplace(std::move(r));
    }
    s.cancel();
  } catch (const cancelled&) {
    throw;
  } catch (...) {
    if (!state.have_failure.exchange(true)) state.first_failure = std::current_exception();
  }
}

template <class Result, class Entrants>
task<Result> race_all(Entrants entrants) {
  race_state<Result> state;
  auto children = await_children(
      [&](scope& s) { std::apply([&](auto&... f) { (go_in(s, run_in_race(state, s, f)), ...); }, entrants); });
  co_await std::move(children);
  if (!state.first && state.first_failure) std::rethrow_exception(state.first_failure);
  if (!state.first) throw cancelled{};  // All were cancelled from within.
  if constexpr (!std::is_void_v<Result>) co_return std::move(*state.first);
}

template <class T>
not_void<T> taken_from(future<T>& f) {
  if constexpr (std::is_void_v<T>) {
    future_access::take(f);
    return {};
  } else {
    return future_access::take(f);
  }
}

template <class... Ts>
task<std::tuple<not_void<Ts>...>> join_futures(std::tuple<future<Ts>&...> futures) {
  std::array<future_core*, sizeof...(Ts)> all = std::apply(
      [](auto&... f) { return std::array<future_core*, sizeof...(Ts)>{&future_access::core(f)...}; }, futures);
  for (future_core* one : all) {
    co_await await_object(*one);
    if (one->failed()) break;  // Taking it throws.
  }
  co_return std::apply([](auto&... f) { return std::tuple<not_void<Ts>...>{taken_from(f)...}; }, futures);
}

// Runs the work in fibers, since it may not wait where it computes.
template <class Work>
task<> await_fibers(Work& work) {
  return await_children([&work](scope& s) {
    for (std::size_t i = 0; i < work.useful_fibers(); ++i) s.go([&work] { work(); });
  });
}

}  // namespace detail

// As for_each_concurrent(): f(item), which makes a task, for every item, at most `limit` at a time. Throws
// std::invalid_argument for a limit of zero.
template <std::ranges::viewable_range Range, class F>
task<> async_for_each_concurrent(Range&& items, std::size_t limit, F f) {
  return detail::visit_all(std::views::all(std::forward<Range>(items)), limit, std::move(f));
}

// The same, with the tasks' results in the order of the items.
template <std::ranges::viewable_range Range, class F>
requires std::ranges::forward_range<Range>
auto async_map_concurrent(Range&& items, std::size_t limit, F f) {
  using made = detail::mapped<std::views::all_t<Range>, F>;
  static_assert(detail::is_task<made>, "the function has to make a task");
  using result = typename made::value_type;
  static_assert(!std::is_void_v<result>, "async_map_concurrent needs results; async_for_each_concurrent does without");
  return detail::map_all<result>(std::views::all(std::forward<Range>(items)), limit, std::move(f));
}

// As race(), of tasks or of functions that make tasks: the first result, as their common type, once the others, which
// are cancelled then, have ended. A failure counts only if all fail: then the first is thrown.
template <class... Fs>
auto async_race(Fs&&... fs) {
  static_assert(sizeof...(Fs) > 0);
  using result = std::common_type_t<detail::task_value<std::decay_t<Fs>>...>;
  return detail::race_all<result>(std::tuple<std::decay_t<Fs>...>(std::forward<Fs>(fs)...));
}

// As join_all(): the results of all futures as a tuple; throws what the first of them, in the order of the arguments,
// throws. Starts nothing.
template <class... Ts>
auto async_join_all(future<Ts>&... futures) {
  return detail::join_futures<Ts...>(std::tuple<future<Ts>&...>(futures...));
}

// As parallel_for(), in fibers: f(i) for every i in [first, last), over all workers, in pieces of at least `grain`; 0
// chooses.
template <std::integral I, class F>
task<> async_parallel_for(I first, std::type_identity_t<I> last, F f, std::size_t grain = 0) {
  detail::parallel_loop<I, F> work(first, last, f, grain);
  auto fibers = detail::await_fibers(work);
  co_await std::move(fibers);
}

// As parallel_reduce(), in fibers: combine(init, f(first), …, f(last - 1)) in any order and grouping.
template <std::integral I, class T, class Combine, class F>
task<T> async_parallel_reduce(I first, std::type_identity_t<I> last, T init, Combine combine, F f,
                              std::size_t grain = 0) {
  detail::parallel_reduction<I, T, Combine, F> work(first, last, init, combine, f, grain);
  auto fibers = detail::await_fibers(work);
  co_await std::move(fibers);
  co_return work.result();
}

}  // namespace thrum
