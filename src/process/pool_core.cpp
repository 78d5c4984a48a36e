// The queue of calls and the pool's end.
#include "process/pool_core.hpp"

#include <algorithm>
#include <mutex>

#include <thrum/runtime.hpp>

#include "process/pool_error.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

// Workers are processes: nobody who waits for one is deadlocked.
constexpr sched::wait_kind awaited_turn{"a worker of a process_pool", nullptr, true};
constexpr sched::wait_kind awaited_end{"the calls of a process_pool", nullptr, true};

constexpr std::int64_t least_backoff_ns = 10'000'000;

std::error_code canceled() noexcept { return std::make_error_code(std::errc::operation_canceled); }

}  // namespace

pool_core::pool_core(const process_pool_options& o) : options(o) {
  const unsigned count = o.workers > 0 ? o.workers : available_processors();
  idle_.reserve(count);
  for (unsigned i = 0; i < count; ++i) idle_.push_back(workers_.emplace_back(std::make_unique<pool_worker>()).get());
}

pool_core::~pool_core() {
  // Who told the end may still hold the lock: waits for it.
  std::lock_guard held(ended_.lock);
}

// With the lock held. True: there is no need to wait, since there is a worker, or an error.
bool pool_core::take(pool_worker*& w, std::error_code& error) noexcept {
  if (closed_) {
    error = pool_error(worker_errc::closed);
  } else if (!idle_.empty()) {
    w = idle_.back();
    idle_.pop_back();
    ++running_;
  } else if (queued_ >= options.queue_max) {
    error = pool_error(worker_errc::queue_full);
  } else {
    ++queued_;
    return false;
  }
  return true;
}

// Who claims a waiter counts it out of the queue; who was not claimed does so itself.
std::error_code pool_core::after_waiting(bool claimed, bool cancelled, const pool_worker* w) noexcept {
  if (claimed) return w ? std::error_code() : pool_error(worker_errc::closed);
  leave_queue();
  return cancelled ? canceled() : pool_error(worker_errc::not_begun);
}

void pool_core::leave_queue() noexcept {
  bool ended;
  {
    std::lock_guard held(turns_.lock);
    --queued_;
    ended = has_ended();
  }
  tell_end(ended);
}

pool_worker* pool_core::wait_for_turn(std::int64_t deadline_ns, std::error_code& error) {
  error.clear();
  sched::waiting w(sched::cancellation::reported);
  if (w.already_cancelled()) error = canceled();
  if (error) return nullptr;
  pool_worker* worker = nullptr;
  sched::wait_node node(w, &worker);
  {
    std::lock_guard held(turns_.lock);
    if (take(worker, error)) return worker;
    w.open();
    push_back(turns_.waiters, node);
  }
  const auto code = w.park(deadline_ns, {&awaited_turn, this});
  const bool claimed = code == sched::claim_code::first_clause;
  if (!claimed) sched::withdraw(turns_, node);
  error = after_waiting(claimed, code == sched::claim_code::cancelled, worker);
  return error ? nullptr : worker;
}

bool pool_core::turn::await_ready() {
  const auto& self = sched::begin_task_call(sched::cancellation::reported);
  done = self.cancel_pending.load(std::memory_order_acquire);
  if (done) error = canceled();
  if (done) return sched::go_on();
  return sched::begin_wait(
      wait, &timer, of.turns_, [this] { return done = of.take(worker, error); }, deadline_ns, {&awaited_turn, &of},
      sched::cancellation::reported, &worker);
}

pool_worker* pool_core::turn::await_resume() {
  if (done) return worker;
  const auto code = sched::end_parking(&timer);
  const bool claimed = code == sched::claim_code::first_clause;
  if (!claimed) sched::withdraw(of.turns_, sched::node_in(wait.node));
  error = of.after_waiting(claimed, code == sched::claim_code::cancelled, worker);
  return error ? nullptr : worker;
}

// The worker is written to the waiter before it is claimed: it may run at once. One whose claim fails looks at nothing.
void pool_core::give_back(pool_worker& w) noexcept {
  sched::runnable_batch batch;
  bool handed_on = false, ended;
  {
    std::lock_guard held(turns_.lock);
    while (!handed_on && !turns_.waiters.empty()) {
      sched::wait_node& first = *turns_.waiters.first;
      remove(turns_.waiters, first);
      *static_cast<pool_worker**>(first.slot) = &w;
      handed_on = claim_waiter(*first.who, first.code, batch);
    }
    if (handed_on) {
      --queued_;
    } else {
      --running_;
      idle_.insert(w.exists() ? idle_.end() : idle_.begin(), &w);
    }
    ended = has_ended();
  }
  sched::make_runnable(batch);
  tell_end(ended);
}

void pool_core::close() noexcept {
  bool ended;
  {
    std::lock_guard held(turns_.lock);
    closed_ = true;
    ended = has_ended();
  }
  tell_end(ended);
}

void pool_core::cancel() noexcept {
  sched::runnable_batch batch;
  bool ended;
  {
    std::lock_guard held(turns_.lock);
    closed_ = true;
    cancelled_.store(true, std::memory_order_release);
    while (!turns_.waiters.empty()) {
      sched::wait_node& first = *turns_.waiters.first;
      remove(turns_.waiters, first);
      *static_cast<pool_worker**>(first.slot) = nullptr;
      if (claim_waiter(*first.who, first.code, batch)) --queued_;
    }
    ended = has_ended();
  }
  sched::make_runnable(batch);
  stopped_.set();
  for (auto& w : workers_) w->kill();
  tell_end(ended);
}

// It is true once only that the pool is closed and empty, but for who closes it again.
void pool_core::tell_end(bool ended) noexcept {
  if (!ended) return;
  sched::runnable_batch batch;
  {
    std::lock_guard held(ended_.lock);
    end_told_ = true;
    claim_all(ended_.waiters, batch);
  }
  sched::make_runnable(batch);
}

bool pool_core::wait_for_end(std::error_code& error) {
  error.clear();
  const bool ended = sched::wait_until(
      ended_, [this] { return end_told_; }, sched::never, {&awaited_end, this}, sched::cancellation::reported);
  if (!ended) error = canceled();
  return ended;
}

void pool_core::wait_for_end_shielded() noexcept {
  {
    std::lock_guard held(ended_.lock);
    if (end_told_) return;  // A task may go on.
  }
  sched::wait_until(
      ended_, [this] { return end_told_; }, sched::never, {&awaited_end, this}, sched::cancellation::none);
}

bool pool_core::end_awaiter::await_ready() {
  const auto& self = sched::begin_task_call(sched::cancellation::reported);
  refused = self.cancel_pending.load(std::memory_order_acquire);
  if (refused) return sched::go_on();
  return sched::begin_wait(
      wait, nullptr, of.ended_, [this] { return of.end_told_; }, sched::never, {&awaited_end, &of},
      sched::cancellation::reported);
}

bool pool_core::end_awaiter::await_resume() {
  if (!refused && wait.at == async_wait::state::waiting &&
      sched::end_parking(nullptr) != sched::claim_code::first_clause) {
    sched::withdraw(of.ended_, sched::node_in(wait.node));
    refused = true;
  }
  if (refused) error = canceled();
  return !refused;
}

void pool_core::start_succeeded() noexcept { backoff_ns_.store(0, std::memory_order_relaxed); }

// Several may fail at once; the pause is the pool's, so a little more or less is no matter.
void pool_core::start_failed() noexcept {
  failed_starts_.fetch_add(1, std::memory_order_relaxed);
  const auto most = std::max<std::int64_t>(options.backoff_max.count(), 0);
  const auto pause = std::min(std::max(2 * backoff_ns_.load(std::memory_order_relaxed), least_backoff_ns), most);
  backoff_ns_.store(pause, std::memory_order_relaxed);
  next_start_ns_.store(sched::now_ns() + pause, std::memory_order_relaxed);
}

process_pool::statistics pool_core::statistics() noexcept {
  process_pool::statistics s;
  {
    std::lock_guard held(turns_.lock);
    s.running = running_;
    s.queued = queued_;
  }
  s.workers = static_cast<unsigned>(alive_.load(std::memory_order_relaxed));
  s.started = starts_.load(std::memory_order_relaxed);
  s.failed_starts = failed_starts_.load(std::memory_order_relaxed);
  return s;
}

}  // namespace thrum::detail
