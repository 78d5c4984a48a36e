// Signals as something to receive, alone or in a select.
//
//   thrum::signal_set ends{SIGINT, SIGTERM};
//   thrum::select(jobs.on_receive(work), ends.on_receive([&](auto) { drain(); }));
//
// While a set exists, its signals do nothing but arrive in it, and in every other set that has them. Signals merge, as
// they do in the kernel: one that arrives again before it was received is received once; none is lost in the sense that
// after its last arrival a receive() returns it. When the last set with a signal has gone, what the program had
// installed for it is back. Threads that block a signal, such as the runtime's workers, and threads that do not, may
// exist before or after.
//
// SIGQUIT is thrum's, which prints all fibers. It is refused with errc::invalid_argument, as are SIGKILL and SIGSTOP,
// the signals of faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT), and what is none. SIGCHLD does
// not disturb thrum::process, nor does that disturb a set.
//
// Several fibers, tasks and plain threads may receive; each signal goes to one of them. The waiting calls suspend and
// are cancellation points: a cancelled receive takes no signal. While there is a set, deadlocks cannot be proved, since
// a signal may still end any wait. In a simulation there are no signals: errc::operation_not_supported.
//
// The idea is Go's os/signal; there, signals are dropped when the channel is full.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/channel.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/receive_iterator.hpp>

namespace thrum {

namespace detail {

// What a set shares with the thread that delivers.
struct signal_source {
  explicit signal_source(std::uint64_t m);

  void deliver(int signal) noexcept;
  // Receivers clear the mark after they have taken the signal and before they return it.
  std::optional<int> taken(std::optional<int> signal) noexcept;

  const std::uint64_t mask;  // Bit n - 1: signal n.
  channel<int> arrived;      // Has room for one of each.
  // Those that are in the channel. deliver() sets a mark before it sends, and taken() clears it: both read-modify-write
  // one word, and the channel orders the rest.
  std::atomic<std::uint64_t> queued{0};
};

template <class Make>
class [[nodiscard]] signal_awaiter {
 public:
  signal_awaiter(std::shared_ptr<signal_source> s, Make make) : source_(std::move(s)), inner_(make(*source_)) {}
  signal_awaiter(const signal_awaiter&) = delete;
  signal_awaiter& operator=(const signal_awaiter&) = delete;

  bool await_ready() { return inner_.await_ready(); }
  template <class Handle>
  void await_suspend(Handle h) noexcept {
    inner_.await_suspend(h);
  }
  std::optional<int> await_resume() { return source_->taken(inner_.await_resume()); }

 private:
  std::shared_ptr<signal_source> source_;
  std::invoke_result_t<Make&, signal_source&> inner_;
};

}  // namespace detail

class signal_set {
 public:
  using value_type = int;

  // Never suspends. Throws std::system_error, such as errc::invalid_argument; the overload leaves a set that has ended.
  // The first set starts a thread.
  explicit signal_set(std::initializer_list<int> signals);
  signal_set(std::initializer_list<int> signals, std::error_code& error);
  signal_set(signal_set&&) noexcept = default;
  signal_set& operator=(signal_set&& other) noexcept;
  ~signal_set() { stop(); }

  // Suspends until one of the signals has arrived; empty once the set was stopped. Throws cancelled.
  std::optional<int> receive() { return receive_until_ns(detail::never); }
  // Empty also when it would have to wait, or when the time is up.
  std::optional<int> try_receive() { return receive_until_ns(detail::only_try); }
  template <class Rep, class Period>
  std::optional<int> receive_for(std::chrono::duration<Rep, Period> d) {
    return receive_until_ns(detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  std::optional<int> receive_until(std::chrono::time_point<Clock, Duration> t) {
    return receive_until_ns(detail::deadline_at(t));
  }

  // For tasks: co_await them.
  auto async_receive() {
    return await([](auto& s) { return s.arrived.async_receive(); });
  }
  template <class Rep, class Period>
  auto async_receive_for(std::chrono::duration<Rep, Period> d) {
    return await([d](auto& s) { return s.arrived.async_receive_for(d); });
  }
  template <class Clock, class Duration>
  auto async_receive_until(std::chrono::time_point<Clock, Duration> t) {
    return await([t](auto& s) { return s.arrived.async_receive_until(t); });
  }

  // A clause for select(). f gets a std::optional<int>, empty at the end.
  template <class F>
  auto on_receive(F f) const {
    return source_->arrived.on_receive(
        [s = source_, f = std::move(f)](std::optional<int> n) mutable { std::invoke(f, s->taken(n)); });
  }

  // The signals have their former effect again, unless another set has them, and receivers get the end once they have
  // taken what has arrived. One that was sent before has no effect any more. May be repeated. Never suspends.
  void stop() noexcept;

  // Receives until the end.
  using iterator = detail::receive_iterator<signal_set>;
  iterator begin() { return iterator(this); }
  iterator end() { return {}; }

 private:
  template <class Make>
  detail::signal_awaiter<Make> await(Make make) {
    return {source_, std::move(make)};
  }
  std::optional<int> receive_until_ns(std::int64_t deadline_ns);

  std::shared_ptr<detail::signal_source> source_;  // Null: moved from, and fit for assignment only.
};

}  // namespace thrum
