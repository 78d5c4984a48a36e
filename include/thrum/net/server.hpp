// A server that ends in good order: it accepts, a fiber (or task) for each connection, and on shutdown stops accepting,
// lets the connections finish until a deadline, cancels the rest, and reports.
//
//   thrum::net::server server(thrum::net::tcp_listener::bind(":7777"), [](thrum::net::tcp_stream c) { answer(c); },
//                             {.max_connections = 1000});
//   thrum::fiber serving = thrum::spawn([&] { server.serve(); });
//   ...
//   const thrum::net::server_report r = server.shutdown(10s);     // From another fiber.
//
// A handler is void(connection), which runs in a fiber, or makes a task<>. One object serves all connections, several
// at once. An exception that leaves it is counted and handed to `on_failure`; it ends its own connection and nothing
// else. While max_connections are being served nobody is accepted; who connects then waits in the kernel's backlog.
//
// serve() and shutdown() suspend and are cancellation points. The listener is any object with accept() and close(), or
// async_accept(). The server must outlive serve().
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/spinlock.hpp>
#include <thrum/detail/transfer.hpp>
#include <thrum/event.hpp>
#include <thrum/fiber.hpp>
#include <thrum/scope.hpp>
#include <thrum/semaphore.hpp>
#include <thrum/task.hpp>
#include <thrum/task_scope.hpp>
#include <thrum/wait_group.hpp>

namespace thrum::net {

struct server_options {
  std::size_t max_connections = 10'000;  // Served at the same time; at least 1.
  // Is given what leaves a handler, and why accepting had to pause, such as errc::too_many_files_open. Called by the
  // fiber or task concerned, perhaps by several at once. It must not wait; when it throws, the process ends.
  std::function<void(std::exception_ptr)> on_failure = {};
};

// How many connections have ended, and how.
struct server_report {
  std::uint64_t served = 0;     // By themselves, before the shutdown.
  std::uint64_t drained = 0;    // By themselves, during the shutdown.
  std::uint64_t cancelled = 0;  // With thrum::cancelled, or after the deadline of the shutdown.
  std::uint64_t failed = 0;     // With another exception, whenever.
  std::exception_ptr first_failure{};
};

}  // namespace thrum::net

namespace thrum::detail {

// What a server knows of its phases, and counts. From any fiber, task or thread.
class server_state {
 public:
  explicit server_state(net::server_options&& options);

  // False: it was stopped before. Throws std::logic_error when somebody has served already.
  bool begin_serving();
  void end_serving() noexcept { ended_.set(); }
  bool stop() noexcept;  // False: nobody serves yet.

  event& stopping() noexcept { return stopping_; }
  event& cancelling() noexcept { return cancelling_; }
  event& ended() noexcept { return ended_; }
  counting_semaphore<>& places() noexcept { return places_; }
  wait_group& active() noexcept { return active_; }

  void connection_begins() { active_.add(1); }
  // With the exception that left the handler, if any.
  void connection_ends(std::exception_ptr failure, bool was_cancelled = false) noexcept;
  // What accepting failed with: true when it is to go on after a pause. Throws what cannot be mended.
  bool pauses_for(const std::error_code& error);
  net::server_report numbers() const;

  static constexpr std::chrono::milliseconds pause{50};

 private:
  void report(const std::exception_ptr& failure) const noexcept;
  std::uint64_t& counter(bool was_cancelled) noexcept;

  const std::function<void(std::exception_ptr)> on_failure_;
  counting_semaphore<> places_;
  wait_group active_;
  event stopping_, cancelling_, ended_;
  mutable spinlock lock_;  // Guards what follows.
  bool begun_ = false;
  net::server_report report_;
};

// Its destructor says that nobody serves any more.
struct serving {
  server_state& state;
  ~serving() { state.end_serving(); }
};

inline task<> cancel_when(event& told, scope& what) {
  co_await told.async_wait();
  what.cancel();
}

}  // namespace thrum::detail

namespace thrum::net {

template <class Listener, class Handler>
class server {
 public:
  using connection = decltype(std::declval<Listener&>().accept());
  static_assert(std::is_invocable_v<Handler&, connection>, "a handler is called with a connection");

  server(Listener listener, Handler handler, server_options options = {})
      : listener_(std::move(listener)), handler_(std::move(handler)), state_(std::move(options)) {}
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  // Accepts and serves until somebody stops it, and returns when the last connection has ended. In a fiber, once:
  // throws std::logic_error otherwise. Throws std::system_error when accepting fails for good; then, and when it is
  // cancelled, all connections are cancelled without a drain, and have ended when it throws.
  server_report serve() {
    if (!state_.begin_serving()) return refuse();
    const detail::serving until_the_end{state_};
    with_scope(forever, [this](scope& connections) {
      with_scope(forever, [&](scope& watch) {
        watch.go([&] { await_and_cancel(state_.cancelling(), connections); });
        with_scope(forever, [&](scope& accepting) { accept_all(accepting, connections); });
        listener_.close();
        state_.active().wait();
        watch.cancel();
      });
    });
    return state_.numbers();
  }
  // The same for tasks: co_await it.
  task<server_report> async_serve() {
    if (!state_.begin_serving()) co_return refuse();
    const detail::serving until_the_end{state_};
    co_await async_with_scope([this](scope& connections) { return async_serve_in(connections); });
    co_return state_.numbers();
  }

  // Stops accepting: who connects from now on is refused, once serve() has come so far. serve() returns when all
  // connections have ended. Does not suspend. Any fiber, task or thread; may be repeated.
  void stop() noexcept { state_.stop(); }

  // The same, and waits for the end of serve(), until the deadline, from now; then cancels the remaining connections,
  // and waits for their end. When it is cancelled itself it cancels them as well. Not from a handler, which would wait
  // for itself: stop() is for those. May be called by several; the earliest deadline counts.
  server_report shutdown(std::chrono::nanoseconds deadline) {
    if (!state_.stop()) return state_.numbers();
    try {
      if (!state_.ended().wait_for(deadline)) {
        state_.cancelling().set();
        state_.ended().wait();
      }
    } catch (const cancelled&) {
      state_.cancelling().set();
      throw;
    }
    return state_.numbers();
  }
  // For tasks: co_await it.
  task<server_report> async_shutdown(std::chrono::nanoseconds deadline) {
    if (!state_.stop()) co_return state_.numbers();
    try {
      const bool in_time = co_await state_.ended().async_wait_for(deadline);
      if (!in_time) state_.cancelling().set();
      co_await state_.ended().async_wait();
    } catch (const cancelled&) {
      state_.cancelling().set();
      throw;
    }
    co_return state_.numbers();
  }

  // So far. Does not suspend; any thread.
  server_report report() const { return state_.numbers(); }
  // To ask for its address. It belongs to serve() while that runs.
  const Listener& listener() const noexcept { return listener_; }

 private:
  static constexpr auto forever = std::chrono::nanoseconds::max();
  static constexpr bool by_tasks = detail::is_task<std::invoke_result_t<Handler&, connection>>;

  server_report refuse() {
    listener_.close();
    return state_.numbers();
  }

  static void await_and_cancel(event& told, scope& what) {
    told.wait();
    what.cancel();
  }

  void accept_all(scope& accepting, scope& connections) {
    accepting.go([&] { await_and_cancel(state_.stopping(), accepting); });
    for (std::error_code error;;) {
      state_.places().acquire();
      auto accepted = listener_.accept(error);
      if (!error)
        launch(connections, std::move(accepted));
      else if (state_.pauses_for(error))
        this_fiber::sleep_for(state_.pause);
    }
  }
  task<> async_serve_in(scope& connections) {
    return async_with_scope([this, &connections](scope& watch) -> task<> {
      go_in(watch, detail::cancel_when(state_.cancelling(), connections));
      co_await async_with_scope([&](scope& accepting) { return async_accept_all(accepting, connections); });
      listener_.close();
      co_await state_.active().async_wait();
      watch.cancel();
    });
  }
  task<> async_accept_all(scope& accepting, scope& connections) {
    go_in(accepting, detail::cancel_when(state_.stopping(), accepting));
    for (std::error_code error;;) {
      co_await state_.places().async_acquire();
      auto accepted = co_await listener_.async_accept(error);
      if (!error)
        launch(connections, std::move(accepted));
      else if (state_.pauses_for(error))
        co_await async_sleep_for(state_.pause);
    }
  }

  // In a scope that others cancel, too: what cannot be started has failed.
  void launch(scope& connections, connection&& accepted) {
    state_.connection_begins();
    try {
      if constexpr (by_tasks)
        go_in(connections, async_run(std::move(accepted)));
      else
        connections.go([this, c = std::move(accepted)]() mutable { run(std::move(c)); });
    } catch (...) {
      state_.connection_ends(std::current_exception());
    }
  }
  void run(connection c) {
    try {
      std::invoke(handler_, std::move(c));
      state_.connection_ends({});
    } catch (const cancelled&) {
      state_.connection_ends({}, true);
    } catch (...) {
      state_.connection_ends(std::current_exception());
    }
  }
  task<> async_run(connection c) {
    try {
      co_await std::invoke(handler_, std::move(c));
      state_.connection_ends({});
    } catch (const cancelled&) {
      state_.connection_ends({}, true);
    } catch (...) {
      state_.connection_ends(std::current_exception());
    }
  }

  Listener listener_;
  Handler handler_;
  detail::server_state state_;
};

}  // namespace thrum::net
