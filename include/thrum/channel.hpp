// Channels: typed queues between fibers (and threads), with Go's semantics.
//
//   thrum::channel<int> ch(16);                 // 0: unbuffered, a rendezvous
//   thrum::go([ch]() mutable { for (int i = 0; i < 3; ++i) ch.send(i); ch.close(); });
//   for (int v : ch) use(v);
//
// A channel object is a handle: copies refer to the same channel, which lives as long as one of them. A
// default-constructed handle is null: sending and receiving on it block for ever, a select never chooses it. Handles
// that close the channel when the last sender or receiver is gone are in channel_ends.hpp.
//
// channel<T>(thrum::unbounded) takes whatever is sent: send() never waits, and throws std::bad_alloc when there is no
// memory for the element. Memory is taken in pieces as elements pile up, and given back as they are received. Nothing
// slows a sender that is faster than its receivers, so prefer a capacity unless something else bounds what is sent.
//
// First in, first out. Closing lets receivers drain what is buffered and then tells them the end; sending on a closed
// channel throws channel_closed, also for senders that are already waiting. A send that fails, for whatever reason,
// leaves its argument unmoved. All operations may be used by any thread; those that wait suspend the fiber or block
// the thread, and are cancellation points: a cancelled send or receive did not happen.
//
// Element types must be movable without exceptions; they need not be copyable.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/channel_awaiters.hpp>
#include <thrum/detail/channel_core.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/receive_iterator.hpp>
#include <thrum/select.hpp>

namespace thrum {

// Sending on a closed channel, or closing it a second time.
class channel_closed : public std::logic_error {
 public:
  explicit channel_closed(const char* what) : std::logic_error(what) {}
};

inline bool detail::was_sent(channel_result r) {
  if (r == channel_result::closed) throw thrum::channel_closed("thrum: send on a closed channel");
  return r == channel_result::done;
}

struct unbounded_t {
  explicit unbounded_t() = default;
};
inline constexpr unbounded_t unbounded{};

namespace detail {
struct channel_access;
}

template <class T>
class channel {
  static_assert(std::is_object_v<T> && std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "a channel's elements must be movable and destructible without exceptions");

 public:
  using value_type = T;

  constexpr channel() noexcept = default;  // Null.
  // Throw std::bad_alloc.
  explicit channel(std::size_t capacity) : core_(detail::make_channel(detail::element_type_of<T>, capacity)) {}
  explicit channel(unbounded_t) : core_(detail::make_unbounded_channel(detail::element_type_of<T>)) {}
  channel(const channel& other) noexcept : core_(other.core_) { detail::retain(core_); }
  channel(channel&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  channel& operator=(channel other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~channel() { detail::release(core_); }

  explicit operator bool() const noexcept { return core_ != nullptr; }
  friend bool operator==(const channel& a, const channel& b) noexcept { return a.core_ == b.core_; }

  // Suspends until there is room or, unbuffered, until a receiver has taken it. Throws channel_closed, cancelled.
  void send(T&& v) { send_until_ns(v, detail::never); }
  void send(const T& v) requires std::is_copy_constructible_v<T> {
    T copy(v);
    send(std::move(copy));
  }

  // False when it would have to wait. Never suspends. Throws channel_closed, and cancelled in a cancelled scope.
  bool try_send(T&& v) { return send_until_ns(v, detail::only_try); }
  bool try_send(const T& v) requires std::is_copy_constructible_v<T> {
    T copy(v);
    return try_send(std::move(copy));
  }

  // False when the time is up.
  template <class Rep, class Period>
  bool send_for(T&& v, std::chrono::duration<Rep, Period> d) {
    return send_until_ns(v, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  bool send_until(T&& v, std::chrono::time_point<Clock, Duration> t) {
    return send_until_ns(v, detail::deadline_at(t));
  }

  // Suspends until there is an element; empty once the channel is closed and drained. Throws cancelled.
  std::optional<T> receive() { return receive_until_ns(detail::never); }
  // Empty also when it would have to wait, or when the time is up: ask closed() to tell. try_receive() never suspends,
  // and throws cancelled in a cancelled scope.
  std::optional<T> try_receive() { return receive_until_ns(detail::only_try); }
  template <class Rep, class Period>
  std::optional<T> receive_for(std::chrono::duration<Rep, Period> d) {
    return receive_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  std::optional<T> receive_until(std::chrono::time_point<Clock, Duration> t) {
    return receive_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them. What could not be sent goes with the awaitable, which owns it.
  auto async_send(T v) { return send_awaiter<false>(core_, std::move(v), detail::never); }
  template <class Rep, class Period>
  auto async_send_for(T v, std::chrono::duration<Rep, Period> d) {
    return send_awaiter<true>(core_, std::move(v), detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_send_until(T v, std::chrono::time_point<Clock, Duration> t) {
    return send_awaiter<true>(core_, std::move(v), detail::deadline_at(t));
  }
  auto async_receive() { return receive_awaiter<false>(core_, detail::never); }
  template <class Rep, class Period>
  auto async_receive_for(std::chrono::duration<Rep, Period> d) {
    return receive_awaiter<true>(core_, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_receive_until(std::chrono::time_point<Clock, Duration> t) {
    return receive_awaiter<true>(core_, detail::deadline_at(t));
  }

  // Throws channel_closed when it is closed already, std::logic_error on a null channel. Never suspends.
  void close() {
    if (!core_) throw std::logic_error("thrum: close of a null channel");
    if (!detail::channel_close(core_)) throw channel_closed("thrum: close of a closed channel");
  }
  // These never suspend. Of a null channel: false, 0, 0.
  bool closed() const noexcept { return detail::channel_closed(core_); }
  std::size_t size() const noexcept { return detail::channel_size(core_); }  // Elements buffered now.
  // SIZE_MAX when it is unbounded.
  std::size_t capacity() const noexcept { return detail::channel_capacity(core_); }

  // Clauses for select(). f gets a std::optional<T>, empty when the channel is closed and drained.
  template <class F>
  auto on_receive(F f) const {
    return detail::receive_clause<T, F>(core_, std::move(f));
  }
  template <class U, class F>
  requires std::is_constructible_v<T, U&&>
  auto on_send(U&& v, F f) const { return detail::send_clause<T, F>(core_, T(std::forward<U>(v)), std::move(f)); }

  // Receives until the channel is closed and drained.
  using iterator = detail::receive_iterator<channel>;
  iterator begin() { return iterator(this); }
  iterator end() { return {}; }

 private:
  template <bool Timed>
  using send_awaiter = detail::send_awaiter<T, Timed>;
  template <bool Timed>
  using receive_awaiter = detail::receive_awaiter<T, Timed>;

  friend detail::channel_access;

  bool send_until_ns(T& v, std::int64_t deadline_ns) {
    return detail::was_sent(detail::channel_send(core_, std::addressof(v), deadline_ns));
  }

  std::optional<T> receive_until_ns(std::int64_t deadline_ns) {
    detail::element_storage<T> element;
    if (detail::channel_receive(core_, element.address(), deadline_ns) != detail::channel_result::done) return {};
    return element.take();
  }

  detail::channel_core* core_ = nullptr;
};

namespace detail {
struct channel_access {
  template <class T>
  static channel_core* core(const channel<T>& c) noexcept {
    return c.core_;
  }
};

template <class T, class F>
void send_clause<T, F>::fire(channel_result r) {
  if (r == channel_result::closed) throw thrum::channel_closed("thrum: select: send on a closed channel");
  std::invoke(f_);
}
}  // namespace detail

}  // namespace thrum
