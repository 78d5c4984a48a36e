// Calls that block, on threads that may: a pool beside the workers.
//
//   auto row = thrum::blocking([&] { return legacy_query(db, key); });
//
// The calling fiber waits while f() runs on an OS thread of the pool; tasks co_await async_blocking(f)
// (task_blocking.hpp). The process has one pool, for all of its runtimes. Its threads are started when they are needed,
// up to a maximum, and end when they have had nothing to do for some seconds, or with the last runtime. When all are
// busy, callers wait in the order in which they came. No memory is allocated for a call.
//
//   thrum::blocking_pool crunchers({.name = "crunch", .threads_max = 2, .queue_max = 100});
//   auto small = thrum::blocking(crunchers, [&] { return resize(image); });
//
// A program may make pools of its own: what computes should not keep all threads from what waits for a disk, nor use
// more cores than it is given, and a bounded queue refuses work instead of letting it pile up.
//
// f() runs where no fiber is: as on any thread that the program has started itself. It may use whatever blocks, and all
// of thrum that plain threads may use; fiber_local and context_value of the caller are not seen. Do not let it wait for
// another offloaded call: when all threads do so, none is left to make that call.
//
// Not every call that blocks needs this: see docs/guide/blocking-and-hogs.md for what happens to one that a fiber makes
// itself. The pool is for those that are many, since it bounds their threads, and costs some microseconds a call.
//
// In a simulation (sim.hpp) and on plain threads f() is called in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

// What a pool does now, and has done so far.
struct blocking_statistics {
  std::size_t threads = 0;      // Alive; those that do not run a call are idle, or about to take one.
  std::size_t threads_max = 0;  // As it was set.
  std::size_t running = 0;      // Calls that have begun,
  std::size_t queued = 0;       // and those that wait for a thread.
  std::uint64_t completed = 0;  // Calls that have returned or thrown, since the pool (or the process) began.
  std::uint64_t withdrawn = 0;  // Calls that were cancelled while they waited, and never ran.
  std::uint64_t refused = 0;    // Calls that found queue_max others waiting, and never ran.
};

// Of the process's pool, and of the calls on files that io_uring makes without its threads (file.hpp). Neither
// suspends; any thread. The maximum is 64 until it is set, and 1 at least; calls that
// run are not interrupted.
blocking_statistics blocking_stats() noexcept;
void set_blocking_threads_max(std::size_t threads) noexcept;

namespace detail {

class offload_pool;
struct blocking_pool_access;
offload_pool& the_offload_pool() noexcept;  // The process's.
// Another one, for calls that may wait until another fiber does something: each gets a thread, so that nobody is queued
// behind those who wait for him. It has no room when 4,096 threads are busy.
offload_pool& the_waiting_pool() noexcept;

struct ring_request;

// A call on its way through the pool. It lies with who waits for it, and is all that the pool knows of it.
struct offloaded {
  explicit offloaded(void (*run)(offloaded&) noexcept) noexcept : run(run) {}
  offloaded(const offloaded&) = delete;
  offloaded& operator=(const offloaded&) = delete;

  void (*const run)(offloaded&) noexcept;
  ring_request* request = nullptr;  // How the kernel can make it without a thread, if it can.

  // Guarded by the pool's lock.
  offloaded* previous = nullptr;
  offloaded* next = nullptr;
  bool queued = false;
  bool failed = false;  // No thread is to be had. Published by `done`.

  wait_queue finished;  // Who waits for it.
  bool done = false;    // Guarded by its lock.
};

enum class offload_end { done, cancelled, no_thread, no_room, still_runs };

// Suspends until the call has run, or been cancelled before it began; never throws.
offload_end offload(offload_pool& pool, offloaded& call) noexcept;
void check_offload(offload_end how);  // Throws what it says.

// f(), and what becomes of it. f must outlive it.
template <class F>
class offloaded_call : public offloaded {
 public:
  using result = std::invoke_result_t<F&>;

  explicit offloaded_call(F& f) noexcept : offloaded(&run_here), f_(f) {}

  // Once, when it has run.
  result take() {
    if (failure_) std::rethrow_exception(std::move(failure_));
    if constexpr (std::is_reference_v<result>)
      return static_cast<result>(*value_);
    else if constexpr (!std::is_void_v<result>)
      return std::move(*value_);
  }

 private:
  static void run_here(offloaded& o) noexcept {
    auto& self = static_cast<offloaded_call&>(o);
    try {
      if constexpr (std::is_void_v<result>)
        std::invoke(self.f_);
      else if constexpr (std::is_reference_v<result>) {
        auto&& kept_elsewhere = std::invoke(self.f_);
        self.value_ = std::addressof(kept_elsewhere);
      } else
        self.value_.emplace(std::invoke(self.f_));
    } catch (...) {
      self.failure_ = std::current_exception();
    }
  }

  struct nothing {};
  template <class R>
  struct kept {
    using type = std::optional<R>;
  };
  template <class R>
  requires std::is_reference_v<R>
  struct kept<R> {
    using type = std::remove_reference_t<R>*;
  };
  template <class R>
  requires std::is_void_v<R>
  struct kept<R> {
    using type = nothing;
  };

  F& f_;
  [[no_unique_address]] typename kept<result>::type value_{};
  std::exception_ptr failure_;
};

}  // namespace detail

struct blocking_pool_options {
  std::string_view name = "thrum-blocking";  // Of its threads, in debuggers; cut to 15 bytes.
  std::size_t threads_max = 0;               // 0: available_processors(), as befits calls that compute.
  std::size_t queue_max = std::size_t(-1);   // So many calls may wait for a thread; one more is refused.
};

// Threads for some calls alone. Made and destroyed anywhere; used by any runtime.
class blocking_pool {
 public:
  explicit blocking_pool(const blocking_pool_options& options = {});  // Throws std::bad_alloc.
  // Waits for the end of its threads, which are idle: no call may be under way, or the process ends with one clear
  // sentence. Does not suspend.
  ~blocking_pool();
  blocking_pool(const blocking_pool&) = delete;
  blocking_pool& operator=(const blocking_pool&) = delete;

  // Neither suspends; any thread. 1 at least; calls that run are not interrupted.
  blocking_statistics stats() const noexcept;
  void set_threads_max(std::size_t threads) noexcept;

 private:
  friend struct detail::blocking_pool_access;

  std::unique_ptr<detail::offload_pool> pool_;
};

namespace detail {
struct blocking_pool_access {
  static offload_pool& of(blocking_pool& p) noexcept { return *p.pool_; }
};
}  // namespace detail

// Runs f() on a thread of the pool, and returns its result or throws its exception. Suspends. A cancellation point
// until f() has begun: cancelled before, it is taken out of the queue and never runs. Once it has begun it runs to its
// end, and its result is delivered, even if the caller is cancelled meanwhile. Throws std::system_error
// (errc::resource_unavailable_try_again) when the pool has no thread and the system gives none,
// errc::no_buffer_space when `queue_max` calls wait already.
template <class F>
std::invoke_result_t<std::remove_reference_t<F>&> blocking(blocking_pool& pool, F&& f) {
  detail::offloaded_call<std::remove_reference_t<F>> call(f);
  detail::check_offload(detail::offload(detail::blocking_pool_access::of(pool), call));
  return call.take();
}
// The same on the process's pool, whose queue has no bound.
template <class F>
std::invoke_result_t<std::remove_reference_t<F>&> blocking(F&& f) {
  detail::offloaded_call<std::remove_reference_t<F>> call(f);
  detail::check_offload(detail::offload(detail::the_offload_pool(), call));
  return call.take();
}

}  // namespace thrum
