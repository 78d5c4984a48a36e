// Doing many things at a time, but never more than so many, and waiting for all of them.
//
//   thrum::for_each_concurrent(urls, 64, fetch);                       // At most 64 at a time.
//   auto pages = thrum::map_concurrent(urls, 64, fetch);               // The results, in the order of the urls.
//   auto fastest = thrum::race(ask_replica_1, ask_replica_2);          // The first result; the others are cancelled.
//   auto [x, y] = thrum::join_all(a, b);                               // The results of two futures.
//   thrum::parallel_for(0, n, [&](long i) { out[i] = f(in[i]); });     // Over all workers.
//   auto sum = thrum::parallel_reduce(0, n, 0.0, std::plus<>(), [&](long i) { return in[i]; });
//
// All but join_all, which starts nothing, are scopes: they return when everything they started has ended, the first
// failure cancels the rest and is thrown (of race: when all have failed), and cancellation from outside reaches
// everything. They need a fiber; their twins for tasks are in task_concurrent.hpp. All suspend and are cancellation
// points. Items are taken as there is room for them, so
// nothing piles up. Functions are called in several fibers at a time, and must bear that.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <thrum/detail/concurrent_work.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/scope.hpp>

namespace thrum {

namespace detail {

// Starts `fibers` children that each run work(), and waits for them.
template <class F>
void run_in_fibers(std::size_t fibers, F& work) {
  scope s;
  for (std::size_t i = 0; i < fibers; ++i) s.go([&work] { work(); });
  s.join();
}

template <class T>
not_void<T> get(future<T>& f) {
  if constexpr (std::is_void_v<T>) {
    f.get();
    return {};
  } else {
    return f.get();
  }
}

}  // namespace detail

// Calls f(item) for every item, in fibers, at most `limit` at a time. Items that are not random access are taken under
// a lock. Throws std::invalid_argument for a limit of zero.
template <std::ranges::input_range Range, class F>
void for_each_concurrent(Range&& items, std::size_t limit, F f) {
  detail::checked_limit(limit);
  if constexpr (std::ranges::sized_range<Range>)
    limit = std::min(limit, static_cast<std::size_t>(std::ranges::size(items)));
  detail::item_source<std::remove_reference_t<Range>> source(items);
  auto work = [&] { source.drain([&](auto&& item) { std::invoke(f, std::forward<decltype(item)>(item)); }); };
  detail::run_in_fibers(limit, work);
}

// The same, with the results in the order of the items.
template <std::ranges::forward_range Range, class F>
auto map_concurrent(Range&& items, std::size_t limit, F f) {
  using result = std::decay_t<std::invoke_result_t<F&, std::ranges::range_reference_t<Range>>>;
  static_assert(!std::is_void_v<result>, "map_concurrent needs results; for_each_concurrent does without");
  detail::numbered_items<std::remove_reference_t<Range>> source(items);
  std::vector<std::optional<result>> slots(source.count());
  auto work = [&] {
    while (!this_fiber::stop_requested()) {
      const auto place = source.take();
      if (!place) return;
      slots[*place].emplace(std::invoke(f, source.item(*place)));
    }
  };
  detail::run_in_fibers(std::min(detail::checked_limit(limit), source.count()), work);
  return detail::gathered(slots);
}

// Runs all functions at a time and returns the first result, as their common type, once the others, which are cancelled
// then, have ended. A failure counts only if all fail: then the first is thrown.
template <class... Fs>
auto race(Fs&&... fs) {
  static_assert(sizeof...(Fs) > 0);
  using result = std::common_type_t<std::invoke_result_t<Fs&>...>;
  std::optional<detail::not_void<result>> first;
  std::exception_ptr first_failure;
  std::atomic<bool> have_result{false}, have_failure{false};
  scope s;
  const auto run = [&](auto& f) {
    try {
      if constexpr (std::is_void_v<result>) {
        std::invoke(f);
        if (!have_result.exchange(true)) first.emplace();
      } else {
        result r = std::invoke(f);
        if (!have_result.exchange(true)) first.emplace(std::move(r));
      }
      s.cancel();
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      if (!have_failure.exchange(true)) first_failure = std::current_exception();
    }
  };
  (s.go([&run, &fs] { run(fs); }), ...);
  s.join();
  if (!first && first_failure) std::rethrow_exception(first_failure);
  if (!first) throw cancelled{};  // All were cancelled from within.
  if constexpr (!std::is_void_v<result>) return std::move(*first);
}

// Waits for one future after the other and returns their results as a tuple, with std::monostate for void. Throws what
// the first get() that fails throws; the futures behind it keep their results. On plain threads too.
template <class... Ts>
std::tuple<detail::not_void<Ts>...> join_all(future<Ts>&... futures) {
  return {detail::get(futures)...};
}

// Calls f(i) for every i in [first, last), over all workers, in pieces of at least `grain`; 0 chooses.
template <std::integral I, class F>
void parallel_for(I first, std::type_identity_t<I> last, F f, std::size_t grain = 0) {
  detail::parallel_loop<I, F> work(first, last, f, grain);
  detail::run_in_fibers(work.useful_fibers(), work);
}

// combine(init, f(first), …, f(last - 1)), where order and grouping of the combinations are not defined: combine(T, T)
// must be associative and commutative, and `init` its neutral element.
template <std::integral I, class T, class Combine, class F>
T parallel_reduce(I first, std::type_identity_t<I> last, T init, Combine combine, F f, std::size_t grain = 0) {
  detail::parallel_reduction<I, T, Combine, F> work(first, last, init, combine, f, grain);
  detail::run_in_fibers(work.useful_fibers(), work);
  return work.result();
}

}  // namespace thrum
