// A channel with two sorts of handle, which own its ends.
//
//   auto [tx, rx] = thrum::make_channel<int>(16);          // Or make_channel<int>(thrum::unbounded).
//   thrum::go([tx = std::move(tx)]() mutable { for (int i = 0; i < 3; ++i) tx.send(i); });
//   for (int v : rx) use(v);                               // Ends when the last sender is gone.
//
// When the last copy of the sender is gone, the channel closes: receivers drain what is buffered and then see the end.
// When the last copy of the receiver is gone, sending throws channel_closed, also for senders that already wait, and
// what is buffered is destroyed. So neither side waits for one that is no more.
//
// Otherwise as channel.hpp says: threads, suspension, cancellation, order, null handles, what a failed send leaves.
//
// The idea is that of Rust's std::sync::mpsc and crossbeam-channel.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <thrum/channel.hpp>

namespace thrum {

namespace detail {

// Shared by the copies of a handle.
class sending_end {
 public:
  explicit sending_end(channel_core* c) noexcept : core_(c) { retain(c); }
  ~sending_end() {
    channel_close(core_);
    release(core_);
  }
  sending_end(const sending_end&) = delete;
  sending_end& operator=(const sending_end&) = delete;

 private:
  channel_core* const core_;
};

template <class T>
class receiving_end {
 public:
  explicit receiving_end(channel_core* c) noexcept : core_(c) { retain(c); }
  ~receiving_end() {
    channel_close(core_);
    element_storage<T> element;
    while (channel_take(core_, element.address())) (void)element.take();
    release(core_);
  }
  receiving_end(const receiving_end&) = delete;
  receiving_end& operator=(const receiving_end&) = delete;

 private:
  channel_core* const core_;
};

}  // namespace detail

template <class T>
class sender {
 public:
  using value_type = T;

  sender() noexcept = default;  // Null.
  explicit operator bool() const noexcept { return static_cast<bool>(channel_); }

  // Suspends until there is room or, unbuffered, until a receiver has taken it. Throws channel_closed, cancelled.
  void send(T&& v) { channel_.send(std::move(v)); }
  void send(const T& v) requires std::is_copy_constructible_v<T> { channel_.send(v); }

  // False when it would have to wait. Never suspends. Throws channel_closed, and cancelled in a cancelled scope.
  bool try_send(T&& v) { return channel_.try_send(std::move(v)); }
  bool try_send(const T& v) requires std::is_copy_constructible_v<T> { return channel_.try_send(v); }

  // False when the time is up.
  template <class Rep, class Period>
  bool send_for(T&& v, std::chrono::duration<Rep, Period> d) {
    return channel_.send_for(std::move(v), d);
  }
  template <class Clock, class Duration>
  bool send_until(T&& v, std::chrono::time_point<Clock, Duration> t) {
    return channel_.send_until(std::move(v), t);
  }

  // For tasks: co_await them. What could not be sent goes with the awaitable, which owns it.
  auto async_send(T v) { return channel_.async_send(std::move(v)); }
  template <class Rep, class Period>
  auto async_send_for(T v, std::chrono::duration<Rep, Period> d) {
    return channel_.async_send_for(std::move(v), d);
  }
  template <class Clock, class Duration>
  auto async_send_until(T v, std::chrono::time_point<Clock, Duration> t) {
    return channel_.async_send_until(std::move(v), t);
  }

  // A clause for select().
  template <class U, class F>
  requires std::is_constructible_v<T, U&&>
  auto on_send(U&& v, F f) const { return channel_.on_send(std::forward<U>(v), std::move(f)); }

  bool closed() const noexcept { return channel_.closed(); }  // There are no receivers any more.

 private:
  template <class U, class Capacity>
  friend auto make_channel(Capacity capacity);
  sender(const channel<T>& c, std::shared_ptr<detail::sending_end> end) noexcept : channel_(c), end_(std::move(end)) {}

  channel<T> channel_;
  std::shared_ptr<detail::sending_end> end_;
};

template <class T>
class receiver {
 public:
  using value_type = T;

  receiver() noexcept = default;  // Null.
  explicit operator bool() const noexcept { return static_cast<bool>(channel_); }

  // Suspends until there is an element; empty once there are no senders and nothing is buffered.
  std::optional<T> receive() { return channel_.receive(); }
  // Empty also when it would have to wait, or when the time is up: ask closed() to tell.
  std::optional<T> try_receive() { return channel_.try_receive(); }
  template <class Rep, class Period>
  std::optional<T> receive_for(std::chrono::duration<Rep, Period> d) {
    return channel_.receive_for(d);
  }
  template <class Clock, class Duration>
  std::optional<T> receive_until(std::chrono::time_point<Clock, Duration> t) {
    return channel_.receive_until(t);
  }

  // For tasks: co_await them.
  auto async_receive() { return channel_.async_receive(); }
  template <class Rep, class Period>
  auto async_receive_for(std::chrono::duration<Rep, Period> d) {
    return channel_.async_receive_for(d);
  }
  template <class Clock, class Duration>
  auto async_receive_until(std::chrono::time_point<Clock, Duration> t) {
    return channel_.async_receive_until(t);
  }

  // A clause for select(). f gets a std::optional<T>, empty at the end.
  template <class F>
  auto on_receive(F f) const {
    return channel_.on_receive(std::move(f));
  }

  bool closed() const noexcept { return channel_.closed(); }     // There are no senders any more.
  std::size_t size() const noexcept { return channel_.size(); }  // Elements buffered now.

  // Receives until the end.
  auto begin() { return channel_.begin(); }
  auto end() { return channel_.end(); }

 private:
  template <class U, class Capacity>
  friend auto make_channel(Capacity capacity);
  receiver(const channel<T>& c, std::shared_ptr<detail::receiving_end<T>> end) noexcept
      : channel_(c), end_(std::move(end)) {}

  channel<T> channel_;
  std::shared_ptr<detail::receiving_end<T>> end_;
};

// The two ends of a new channel, as a pair. The capacity is a number, or `unbounded`. Throws std::bad_alloc.
template <class T, class Capacity>
auto make_channel(Capacity capacity) {
  const channel<T> c(capacity);
  auto* core = detail::channel_access::core(c);
  auto receiving = std::make_shared<detail::receiving_end<T>>(core);
  return std::pair(sender<T>(c, std::make_shared<detail::sending_end>(core)), receiver<T>(c, std::move(receiving)));
}

}  // namespace thrum
