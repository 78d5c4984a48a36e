// The results of several futures as one.
//
//   auto both = thrum::when_all(s.async(left), s.async(right)).then([](auto parts) { … });
//   auto first = thrum::when_any(std::move(replicas)).get();       // A vector of futures.
//   use(first.futures[first.index].get());
//
// The futures are taken, and come back in the result: those of when_all all ready, of when_any at least the one that
// `index` names. What failed counts as ready; its own get() throws. The arguments are futures and shared_futures, or
// one range of either; of a range that is no temporary, shared_futures are copied.
//
// Nothing suspends, no fiber waits, and any thread may call them. Throws no_state if a future is empty; then none has
// been taken.
//
// The names are the Concurrency TS's.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/future.hpp>

namespace thrum {

template <class Sequence>
struct when_any_result {
  std::size_t index;  // Of the first that was ready; SIZE_MAX when there are no futures at all.
  Sequence futures;
};

namespace detail {

// Waits, without a waiter, for `needed` of `count` results. Ends itself when no result can call it any more.
class combination {
 protected:
  combination(std::size_t count, std::size_t needed);
  virtual ~combination() = default;
  combination(const combination&) = delete;
  combination& operator=(const combination&) = delete;

  // The derived class watches all its futures, then calls watched_all() as its last use of the combination.
  void watch(future_core& source) noexcept;
  void watched_all() noexcept;
  // Once: `last` is the one that made it enough. No other result will be looked at.
  virtual void deliver(std::size_t last) noexcept = 0;

 private:
  struct member : continuation {
    combination* owner;
    future_core* source;
  };
  static void on_ready(continuation& c) noexcept;
  void decide() noexcept;
  void let_go() noexcept;

  // Constant once all are watched.
  const std::size_t needed_;
  const std::unique_ptr<member[]> members_;
  std::size_t count_ = 0;

  std::atomic<std::ptrdiff_t> missing_;              // Of the needed; below zero when more than those are ready.
  std::atomic<int> undecided_{2};                    // Until enough are ready, and all are watched.
  std::atomic<std::size_t> holders_;                 // The members that may still run, and the one who watches.
  std::size_t last_ = static_cast<std::size_t>(-1);  // Written by who brings missing_ to zero.
};

template <class Futures, class Visit>
void for_each_future(Futures& futures, Visit visit) {
  if constexpr (requires { futures.begin(); })
    for (auto& f : futures) visit(f);
  else
    std::apply([&](auto&... f) { (visit(f), ...); }, futures);
}

template <class Futures, class Result>
class combined final : combination {
 public:
  static future<Result> start(Futures futures, std::size_t count, std::size_t needed) {
    for_each_future(futures, [](auto& f) { future_access::core(f); });
    auto result = std::make_shared<future_state<Result>>();
    auto* c = new combined(std::move(futures), result, count, needed);
    for_each_future(c->futures_, [c](auto& f) { c->watch(future_access::core(f)); });
    c->watched_all();
    return future<Result>(std::move(result));
  }

 private:
  combined(Futures&& futures, std::shared_ptr<future_state<Result>> result, std::size_t count, std::size_t needed)
      : combination(count, needed), futures_(std::move(futures)), result_(std::move(result)) {}

  void deliver(std::size_t last) noexcept override {
    if constexpr (std::is_same_v<Result, Futures>)
      result_->store(std::move(futures_));
    else
      result_->store(Result{last, std::move(futures_)});
    result_->complete(nullptr);
  }

  Futures futures_;
  const std::shared_ptr<future_state<Result>> result_;
};

template <class F>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<future<T>> = true;
template <class T>
inline constexpr bool is_future<shared_future<T>> = true;

template <class Range>
concept range_of_futures = std::ranges::input_range<Range> && is_future<std::ranges::range_value_t<Range>>;

// Moves the elements out of a temporary container.
template <class Range>
auto collect_futures(Range&& range) {
  std::vector<std::ranges::range_value_t<Range>> all;
  for (auto&& f : range) {
    if constexpr (std::is_lvalue_reference_v<Range> || std::ranges::view<std::remove_cvref_t<Range>>)
      all.push_back(std::forward<decltype(f)>(f));
    else
      all.push_back(std::move(f));
  }
  return all;
}

}  // namespace detail

// A future of a tuple of the futures. Ready at once without any.
template <class... Futures>
requires(detail::is_future<std::decay_t<Futures>>&&...) auto when_all(Futures&&... futures) {
  using all = std::tuple<std::decay_t<Futures>...>;
  return detail::combined<all, all>::start(all(std::forward<Futures>(futures)...), sizeof...(Futures),
                                           sizeof...(Futures));
}

// A future of a vector of the futures.
template <class Range>
requires detail::range_of_futures<Range>
auto when_all(Range&& range) {
  auto futures = detail::collect_futures(std::forward<Range>(range));
  const auto count = futures.size();
  return detail::combined<decltype(futures), decltype(futures)>::start(std::move(futures), count, count);
}

// A future of a when_any_result<tuple of the futures>.
template <class... Futures>
requires(detail::is_future<std::decay_t<Futures>>&&...) auto when_any(Futures&&... futures) {
  using all = std::tuple<std::decay_t<Futures>...>;
  constexpr auto count = sizeof...(Futures);
  return detail::combined<all, when_any_result<all>>::start(all(std::forward<Futures>(futures)...), count,
                                                            count > 0 ? 1 : 0);
}

// A future of a when_any_result<vector of the futures>.
template <class Range>
requires detail::range_of_futures<Range>
auto when_any(Range&& range) {
  auto futures = detail::collect_futures(std::forward<Range>(range));
  using all = decltype(futures);
  const auto count = futures.size();
  return detail::combined<all, when_any_result<all>>::start(std::move(futures), count, count > 0 ? 1 : 0);
}

}  // namespace thrum
