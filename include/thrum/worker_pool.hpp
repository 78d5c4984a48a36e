// A fixed number of fibers that work off a bounded queue of jobs.
//
//   thrum::worker_pool pool({.fibers = 8, .queue = 100});
//   for (auto& f : files) pool.submit([f] { compress(f); });       // Waits while there is no room: back-pressure.
//   auto size = pool.async(measure, path);                         // A future.
//   pool.join();                                                   // Takes no more, and works off what it has.
//
// At most `fibers` jobs run at a time and `queue` more wait, in the order in which they came. An exception of a
// submitted job fails the pool, as a child's does a scope: the other jobs are cancelled, those that wait are dropped,
// and join() throws it. An exception of async() goes to the future, and nothing else happens. A job that leaves with
// `cancelled` has ended normally.
//
// The pool belongs to no scope, and need not be destroyed in the fiber that created it; its fibers see the context of
// that one (context_value.hpp), not of who submits. A job must not wait for its own pool: join it, or submit to it when
// there may be no room.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/channel.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/detail/object_lock.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/scope.hpp>
#include <thrum/semaphore.hpp>

namespace thrum {

struct worker_pool_options {
  std::size_t fibers = 0;  // 0: as many as the runtime has workers.
  std::size_t queue = 64;  // Jobs; 0: submit() waits for a free fiber.
};

// A job for a pool that takes no more: closed, cancelled or failed.
class worker_pool_closed : public std::logic_error {
 public:
  worker_pool_closed() : std::logic_error("thrum: the worker_pool takes no more jobs") {}
};

namespace detail {

struct pool_job {
  virtual ~pool_job() = default;
  virtual void run() = 0;
};

template <class F>
struct submitted_job final : pool_job {
  template <class G>
  explicit submitted_job(G&& g) : function(std::forward<G>(g)) {}
  void run() override { std::invoke(function); }
  F function;
};

// Completes its future also when it is cancelled or dropped.
template <class Result, class F, class... Args>
struct async_job final : pool_job {
  template <class G, class... Values>
  explicit async_job(std::shared_ptr<future_state<Result>> s, G&& g, Values&&... values)
      : state(std::move(s)), function(std::forward<G>(g)), arguments(std::forward<Values>(values)...) {}
  ~async_job() override {
    if (state) state->complete(std::make_exception_ptr(broken_promise()));
  }

  void run() override {
    std::exception_ptr failure;
    try {
      if constexpr (std::is_void_v<Result>)
        std::apply(std::move(function), std::move(arguments));
      else
        state->value.emplace(std::apply(std::move(function), std::move(arguments)));
    } catch (const cancelled&) {
      throw;
    } catch (...) {
      failure = std::current_exception();
    }
    std::exchange(state, nullptr)->complete(std::move(failure));
  }

  std::shared_ptr<future_state<Result>> state;
  F function;
  std::tuple<Args...> arguments;
};

}  // namespace detail

class worker_pool {
 public:
  // Starts the fibers; throws std::logic_error on a thread that runs no fiber, and what spawn() throws.
  explicit worker_pool(const worker_pool_options& options = {});
  // Cancels and waits, shielded from cancellation; a failure that join() has not thrown is dropped. In a task it ends
  // the process, unless the pool has been joined.
  ~worker_pool() { cancel(); }
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;

  // Waits until there is room, and leaves f() to the pool. Suspends; a cancellation point, and then nothing was queued.
  // Throws worker_pool_closed, also when it already waits. From any fiber or thread.
  template <class F>
  void submit(F&& f) {
    room_.acquire();
    put<detail::submitted_job<std::decay_t<F>>>(std::forward<F>(f));
  }

  // False when there is no room; f is then not moved from. Never suspends. Throws worker_pool_closed, and cancelled in
  // a cancelled scope.
  template <class F>
  bool try_submit(F&& f) {
    if (!room_.try_acquire()) return refused();
    put<detail::submitted_job<std::decay_t<F>>>(std::forward<F>(f));
    return true;
  }

  // As submit(), with a future for the result or exception of f(args...); broken_promise when it was cancelled or
  // dropped.
  template <class F, class... Args>
  auto async(F&& f, Args&&... args) {
    room_.acquire();
    return put_async(std::forward<F>(f), std::forward<Args>(args)...);
  }

  // Takes no more jobs; those that it has are worked off. Never suspends. From any fiber or thread.
  void close() noexcept;

  // Closes, and waits until all jobs have ended; throws the first failure, once. Suspends; a cancellation point, and
  // then the jobs go on and it may be called again. By one fiber or thread at a time.
  void join();

  // For tasks: co_await them. They are the twins of submit() and async(), and keep copies of their arguments meanwhile.
  template <class F>
  auto async_submit(F&& f) {
    return detail::awaiter_then([this] { return room_.async_acquire(); },
                                [this, job = std::decay_t<F>(std::forward<F>(f))]() mutable {
                                  put<detail::submitted_job<std::decay_t<F>>>(std::move(job));
                                });
  }
  template <class F, class... Args>
  auto async_future(F&& f, Args&&... args) {
    using call = detail::bound_call<std::decay_t<F>, std::decay_t<Args>...>;
    return detail::awaiter_then([this] { return room_.async_acquire(); },
                                [this, job = call{std::forward<F>(f), {std::forward<Args>(args)...}}]() mutable {
                                  return put_async(std::move(job));
                                });
  }
  // For tasks: as join().
  auto async_join() { return join_awaiter(*this); }

  // Closes, drops the jobs that have not begun and cancels the others, which is no failure. Does not wait for them.
  // From any fiber or thread.
  void cancel() noexcept;

  std::size_t queued() const noexcept { return jobs_.size(); }  // Jobs that wait for a fiber now.

 private:
  template <class Job, class... Args>
  void put(Args&&... args) {
    struct permit {
      worker_pool* pool;
      ~permit() {
        if (pool) pool->room_.release();
      }
    } mine{this};
    if (jobs_.closed()) throw worker_pool_closed();
    send(std::make_unique<Job>(std::forward<Args>(args)...));
    mine.pool = nullptr;
  }
  template <class F, class... Args>
  auto put_async(F&& f, Args&&... args) {
    using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
    auto state = std::make_shared<detail::future_state<result>>();
    put<detail::async_job<result, std::decay_t<F>, std::decay_t<Args>...>>(state, std::forward<F>(f),
                                                                           std::forward<Args>(args)...);
    return future<result>(std::move(state));
  }
  void send(std::unique_ptr<detail::pool_job> job);
  bool refused() const;
  void supervise(std::size_t fibers);
  void work();
  void drop_jobs() noexcept;

  class [[nodiscard]] join_awaiter {
   public:
    explicit join_awaiter(worker_pool& of) : of_(of), end_(of.supervisor_.async_join()) {}
    bool await_ready() {
      of_.close();
      has_to_join_ = of_.supervisor_.joinable();
      return !has_to_join_ || end_.await_ready();
    }
    template <class Handle>
    void await_suspend(Handle h) noexcept {
      end_.await_suspend(h);
    }
    void await_resume() {
      if (has_to_join_) end_.await_resume();
    }

   private:
    worker_pool& of_;
    decltype(std::declval<fiber&>().async_join()) end_;
    bool has_to_join_ = false;
  };

  counting_semaphore<> room_;  // For jobs that wait or run. Opened wide when the pool is closed.
  channel<std::unique_ptr<detail::pool_job>> jobs_;

  detail::object_lock lock_;
  scope* scope_ = nullptr;  // The fibers', while they run. Guarded by lock_, as is the next.
  bool cancelled_ = false;

  fiber supervisor_;  // Last: it is joined before the rest goes.
};

}  // namespace thrum
