// What concurrent.hpp and its twins for tasks share: handing out items and pieces of work, and gathering the results.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <mutex>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <thrum/cancelled.hpp>
#include <thrum/fiber.hpp>
#include <thrum/mutex.hpp>

namespace thrum::detail {

// Processors of the calling fiber's or task's runtime; 1 on a plain thread.
unsigned processor_count() noexcept;

// A counter that shares its cache line, which all runners want, with nothing else. Not by alignas: coroutine frames,
// in which it may be, are not aligned so.
class lone_counter {
 public:
  std::size_t take(std::size_t n = 1) noexcept {
    touch(&value_);
    return value_.fetch_add(n, std::memory_order_relaxed);
  }

 private:
  [[maybe_unused]] std::byte before_[56];
  std::atomic<std::size_t> value_{0};
  [[maybe_unused]] std::byte after_[56];
};

inline std::size_t checked_limit(std::size_t limit) {
  if (limit == 0) throw std::invalid_argument("thrum: a limit of nothing at a time would never end");
  return limit;
}

// Hands the items of a range to several runners, one at a time: take() under lock().
template <class Range>
class item_source {
 public:
  // What take() gives; or the item itself, where nothing else would keep it.
  using place = std::conditional_t<std::ranges::forward_range<Range>, std::ranges::iterator_t<Range>,
                                   std::ranges::range_value_t<Range>>;

  explicit item_source(Range& items) : next_(std::ranges::begin(items)), end_(std::ranges::end(items)) {}

  mutex& lock() noexcept { return m_; }
  std::optional<place> take() {
    std::optional<place> taken;
    if (next_ == end_) return taken;
    if constexpr (std::ranges::forward_range<Range>)
      taken.emplace(next_);
    else
      taken.emplace(*next_);
    ++next_;
    return taken;
  }
  static decltype(auto) item(place& taken) {
    if constexpr (std::ranges::forward_range<Range>)
      return *taken;
    else
      return std::move(taken);
  }

  // Calls use(item) for one item after the other, until there are no more or the scope is cancelled.
  template <class Use>
  void drain(Use&& use) {
    while (!this_fiber::stop_requested()) {
      std::unique_lock hold(m_);
      auto taken = take();
      hold.unlock();
      if (!taken) return;
      use(item(*taken));
    }
  }

 private:
  mutex m_;
  std::ranges::iterator_t<Range> next_;
  const std::ranges::sentinel_t<Range> end_;
};

// In what is random access they are counted.
template <class Range>
requires std::ranges::random_access_range<Range> && std::ranges::sized_range<Range>
class item_source<Range> {
 public:
  using place = std::size_t;

  explicit item_source(Range& items)
      : first_(std::ranges::begin(items)), count_(static_cast<std::size_t>(std::ranges::size(items))) {}

  std::optional<place> take() noexcept {
    const auto i = next_.take();
    return i < count_ ? std::optional(i) : std::nullopt;
  }
  decltype(auto) item(place taken) const { return first_[static_cast<std::ranges::range_difference_t<Range>>(taken)]; }

  template <class Use>
  void drain(Use&& use) {
    while (!this_fiber::stop_requested()) {
      const auto taken = take();
      if (!taken) return;
      use(item(*taken));
    }
  }

 private:
  const std::ranges::iterator_t<Range> first_;
  const std::size_t count_;
  lone_counter next_;
};

// The same where each item's number is needed, too.
template <class Range>
class numbered_items {
 public:
  explicit numbered_items(Range& items) {
    for (auto i = std::ranges::begin(items); i != std::ranges::end(items); ++i) places_.push_back(i);
  }

  std::size_t count() const noexcept { return places_.size(); }
  std::optional<std::size_t> take() noexcept {
    const auto i = next_.take();
    return i < count() ? std::optional(i) : std::nullopt;
  }
  decltype(auto) item(std::size_t taken) const { return *places_[taken]; }

 private:
  std::vector<std::ranges::iterator_t<Range>> places_;
  lone_counter next_;
};

template <class T>
std::vector<T> gathered(std::vector<std::optional<T>>& slots) {
  std::vector<T> results;
  results.reserve(slots.size());
  for (auto& slot : slots) {
    if (!slot) throw cancelled{};  // Its call was cancelled from within.
    results.push_back(std::move(*slot));
  }
  return results;
}

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
      const auto from = next_.take(piece_);
      if (from >= count_) return;
      use(from, from + std::min(piece_, count_ - from));
    }
  }

 private:
  const std::size_t count_, piece_;
  lone_counter next_;
};

// What each fiber of a parallel_for does.
template <class I, class F>
class parallel_loop {
 public:
  parallel_loop(I first, I last, F& f, std::size_t grain)
      : pieces_(first < last ? static_cast<std::size_t>(last - first) : 0, grain), first_(first), f_(f) {}

  std::size_t useful_fibers() const noexcept { return pieces_.useful_fibers(); }
  void operator()() {
    F& f = f_;
    const I first = first_;
    pieces_.drain([&](std::size_t from, std::size_t to) {
      for (auto i = from; i < to; ++i) f(static_cast<I>(first + static_cast<I>(i)));
    });
  }

 private:
  index_pieces pieces_;
  const I first_;
  F& f_;
};

// What each fiber of a parallel_reduce does.
template <class I, class T, class Combine, class F>
class parallel_reduction {
 public:
  parallel_reduction(I first, I last, const T& init, Combine& combine, F& f, std::size_t grain)
      : pieces_(first < last ? static_cast<std::size_t>(last - first) : 0, grain),
        first_(first),
        init_(init),
        combine_(combine),
        f_(f),
        total_(init) {}

  std::size_t useful_fibers() const noexcept { return pieces_.useful_fibers(); }
  void operator()() {
    F& f = f_;
    Combine& combine = combine_;
    const I first = first_;
    T mine = init_;
    pieces_.drain([&](std::size_t from, std::size_t to) {
      T part = init_;
      for (auto i = from; i < to; ++i) part = combine(std::move(part), f(static_cast<I>(first + static_cast<I>(i))));
      mine = combine(std::move(mine), std::move(part));
    });
    std::lock_guard hold(m_);
    total_ = combine_(std::move(total_), std::move(mine));
  }
  T result() { return std::move(total_); }  // Once all have ended.

 private:
  index_pieces pieces_;
  const I first_;
  const T& init_;
  Combine& combine_;
  F& f_;
  mutex m_;
  T total_;
};

template <class T>
using not_void = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

}  // namespace thrum::detail
