// Doing many things at a time, but never more than so many, and waiting for all of them.
//
//   thrum::for_each_concurrent(urls, 64, fetch);                       // At most 64 at a time.
//   auto pages = thrum::map_concurrent(urls, 64, fetch);               // The results, in the order of the urls.
//   auto fastest = thrum::race(ask_replica_1, ask_replica_2);          // The first result; the others are cancelled.
//   auto [x, y] = thrum::join_all(a, b);                               // The results of two futures.
//   thrum::parallel_for(0, n, [&](long i) { out[i] = f(in[i]); });     // Over all workers.
//   auto sum = thrum::parallel_reduce(0, n, 0.0, std::plus<>(), [&](long i) { return in[i]; });
//
// All of them are scopes: they return when everything they started has ended, the first failure cancels the rest and is
// thrown, and cancellation from outside reaches everything. All suspend and are cancellation points, and need a fiber.
// Items are taken as there is room for them, so nothing piles up.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/mutex.hpp>
#include <thrum/scope.hpp>

namespace thrum {

namespace detail {

// Processors of the calling fiber's runtime; 1 on a plain thread.
unsigned processor_count() noexcept;

inline std::size_t checked_limit(std::size_t limit) {
  if (limit == 0) throw std::invalid_argument("thrum: a limit of nothing at a time would never end");
  return limit;
}

// Starts `fibers` children that each run work(), and waits for them.
template <class F>
void run_in_fibers(std::size_t fibers, F& work) {
  scope s;
  for (std::size_t i = 0; i < fibers; ++i) s.go([&work] { work(); });
  s.join();
}

// Hands the items of a range to several fibers, one at a time. In what is random access they are counted.
template <class Range>
class item_source {
 public:
  explicit item_source(Range& items) : next_(std::ranges::begin(items)), end_(std::ranges::end(items)) {}

  // Calls use(item) for one item after the other, until there are no more or the scope is cancelled.
  template <class Use>
  void drain(Use&& use) {
    while (!this_fiber::stop_requested()) {
      std::unique_lock hold(m_);
      if (next_ == end_) return;
      if constexpr (std::ranges::forward_range<Range>) {
        auto here = next_++;
        hold.unlock();
        use(*here);
      } else {
        std::ranges::range_value_t<Range> item(*next_);
        ++next_;
        hold.unlock();
        use(std::move(item));
      }
    }
  }

 private:
  mutex m_;
  std::ranges::iterator_t<Range> next_;
  const std::ranges::sentinel_t<Range> end_;
};

template <class Range>
requires std::ranges::random_access_range<Range> && std::ranges::sized_range<Range>
class item_source<Range> {
 public:
  explicit item_source(Range& items)
      : first_(std::ranges::begin(items)), count_(static_cast<std::size_t>(std::ranges::size(items))) {}

  template <class Use>
  void drain(Use&& use) {
    while (!this_fiber::stop_requested()) {
      const auto i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= count_) return;
      use(first_[static_cast<std::ranges::range_difference_t<Range>>(i)]);
    }
  }

 private:
  const std::ranges::iterator_t<Range> first_;
  const std::size_t count_;
  std::atomic<std::size_t> next_{0};
};

// The numbers below a count, cut into pieces that several fibers take: so many that those who finish early find more.
class index_pieces {
 public:
  index_pieces(std::size_t count, std::size_t grain)
      : count_(count), piece_(std::max({grain, count / (std::size_t{16} * processor_count()), std::size_t{1}})) {}

  std::size_t useful_fibers() const noexcept {
    return std::min<std::size_t>(processor_count(), count_ / piece_ + (count_ % piece_ != 0));
  }

  // Calls use(from, to) for one piece after the other. What runs over a piece has no calls in between that would keep
  // the compiler from holding it in registers.
  template <class Use>
  void drain(Use&& use) {
    while (!this_fiber::stop_requested()) {
      const auto from = next_.fetch_add(piece_, std::memory_order_relaxed);
      if (from >= count_) return;
      use(from, from + std::min(piece_, count_ - from));
    }
  }

 private:
  const std::size_t count_, piece_;
  std::atomic<std::size_t> next_{0};
};

template <class T>
using not_void = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

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
  const auto count = static_cast<std::size_t>(std::ranges::distance(items));
  std::vector<std::optional<result>> slots(count);
  // Every item with its place.
  auto item = std::ranges::begin(items);
  mutex m;
  std::size_t next = 0;
  auto work = [&] {
    while (!this_fiber::stop_requested()) {
      std::unique_lock hold(m);
      if (next == count) return;
      const auto place = next++;
      auto here = item++;
      hold.unlock();
      slots[place].emplace(std::invoke(f, *here));
    }
  };
  detail::run_in_fibers(std::min(detail::checked_limit(limit), count), work);
  std::vector<result> results;
  results.reserve(count);
  for (auto& slot : slots) results.push_back(std::move(*slot));
  return results;
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

// Waits for all futures and returns their results as a tuple, with std::monostate for void; throws what the first of
// them, in the order of the arguments, throws.
template <class... Ts>
std::tuple<detail::not_void<Ts>...> join_all(future<Ts>&... futures) {
  return {detail::get(futures)...};
}

// Calls f(i) for every i in [first, last), over all workers, in pieces of at least `grain`; 0 chooses.
template <std::integral I, class F>
void parallel_for(I first, std::type_identity_t<I> last, F f, std::size_t grain = 0) {
  detail::index_pieces pieces(first < last ? static_cast<std::size_t>(last - first) : 0, grain);
  auto work = [&] {
    pieces.drain([&](std::size_t from, std::size_t to) {
      for (auto i = from; i < to; ++i) f(static_cast<I>(first + static_cast<I>(i)));
    });
  };
  detail::run_in_fibers(pieces.useful_fibers(), work);
}

// combine(init, f(first), …, f(last - 1)), where order and grouping of the combinations are not defined: combine(T, T)
// must be associative and commutative, and `init` its neutral element.
template <std::integral I, class T, class Combine, class F>
T parallel_reduce(I first, std::type_identity_t<I> last, T init, Combine combine, F f, std::size_t grain = 0) {
  detail::index_pieces pieces(first < last ? static_cast<std::size_t>(last - first) : 0, grain);
  mutex m;
  T total = init;
  auto work = [&] {
    T mine = init;
    pieces.drain([&](std::size_t from, std::size_t to) {
      T part = init;
      for (auto i = from; i < to; ++i) part = combine(std::move(part), f(static_cast<I>(first + static_cast<I>(i))));
      mine = combine(std::move(mine), std::move(part));
    });
    std::lock_guard hold(m);
    total = combine(std::move(total), std::move(mine));
  };
  detail::run_in_fibers(pieces.useful_fibers(), work);
  return total;
}

}  // namespace thrum
