// Who has which worker: the idle ones, the calls that wait for one in the order in which they came, and the pool's end.
//
// A worker is idle or one call has it. Whoever gives one back hands it to the first call that waits; so calls wait only
// while none is idle. Of the idle ones those that exist are taken first, and of these the last one used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include <thrum/detail/async.hpp>
#include <thrum/detail/wait_queue.hpp>
#include <thrum/event.hpp>
#include <thrum/process_pool.hpp>

#include "process/pool_worker.hpp"

namespace thrum::detail {

class pool_core {
 public:
  explicit pool_core(const process_pool_options& o);
  ~pool_core();  // All calls have ended.
  pool_core(const pool_core&) = delete;
  pool_core& operator=(const pool_core&) = delete;

  // A call's turn: a worker, or null with an error.
  pool_worker* wait_for_turn(std::int64_t deadline_ns, std::error_code& error);
  struct turn;  // The same for tasks: co_await it.
  void give_back(pool_worker& w) noexcept;

  void close() noexcept;
  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }

  // Until the pool is closed and no call is left.
  bool wait_for_end(std::error_code& error);
  void wait_for_end_shielded() noexcept;
  struct end_awaiter;
  std::vector<std::unique_ptr<pool_worker>>& workers() noexcept { return workers_; }

  // Starts that fail are followed by a pause.
  void started() noexcept { starts_.fetch_add(1, std::memory_order_relaxed); }
  void start_succeeded() noexcept;
  void start_failed() noexcept;
  std::int64_t next_start_ns() const noexcept { return next_start_ns_.load(std::memory_order_relaxed); }
  event& stopped() noexcept { return stopped_; }  // Ends pauses: cancel() sets it.

  process_pool::statistics statistics() noexcept;
  void exists(int change) noexcept { alive_.fetch_add(change, std::memory_order_relaxed); }

  const process_pool_options options;

 private:
  friend struct turn;
  struct refusal;
  bool take(pool_worker*& w, std::error_code& error) noexcept;
  std::error_code after_waiting(bool claimed, bool cancelled, const pool_worker* w) noexcept;
  void leave_queue() noexcept;
  bool has_ended() const noexcept { return closed_ && running_ == 0 && queued_ == 0; }
  void tell_end(bool ended) noexcept;

  std::vector<std::unique_ptr<pool_worker>> workers_;  // Constant after construction.

  wait_queue turns_;                // Its lock guards:
  std::vector<pool_worker*> idle_;  // Those that exist at the back.
  std::size_t running_ = 0, queued_ = 0;
  bool closed_ = false;

  std::atomic<bool> cancelled_{false};  // Set with release by cancel(), before it kills; read by who has started one.
  std::atomic<std::int64_t> next_start_ns_{0};
  std::atomic<std::uint64_t> starts_{0}, failed_starts_{0};
  std::atomic<std::int64_t> backoff_ns_{0};
  std::atomic<int> alive_{0};
  event stopped_;

  wait_queue ended_;       // Its lock guards:
  bool end_told_ = false;  // The pool is closed, and the last call has gone.
};

// For tasks.
struct pool_core::turn : suspends_task {
  turn(pool_core& c, std::int64_t until, std::error_code& e) noexcept : of(c), deadline_ns(until), error(e) {}
  bool await_ready();
  pool_worker* await_resume();

  pool_core& of;
  const std::int64_t deadline_ns;
  std::error_code& error;
  pool_worker* worker = nullptr;
  bool done = false;
  async_wait wait{};
  async_timer timer{};
};

struct pool_core::end_awaiter : suspends_task {
  end_awaiter(pool_core& c, std::error_code& e) noexcept : of(c), error(e) {}
  bool await_ready();
  bool await_resume();

  pool_core& of;
  std::error_code& error;
  bool refused = false;
  async_wait wait{};
};

}  // namespace thrum::detail
