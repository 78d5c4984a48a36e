// Pauses, and their end.
#include "net/patience.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <system_error>

#include <thrum/detail/async.hpp>
#include <thrum/detail/wait_queue.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

#include "net/socket_operation.hpp"
#include "sched/scheduler.hpp"
#include "sched/task_wait.hpp"
#include "sched/wait.hpp"

namespace thrum::net {
namespace {

constexpr std::int64_t longest_pause_ns = 100'000'000;
constexpr sched::wait_kind awaited_descriptor{"a descriptor to become free, or a pause to end"};

constinit std::atomic<std::uint32_t> pausing{0};
constinit std::atomic<std::uint32_t> closings{0};  // Changed, and compared by who waits, under the queue's lock.
constinit detail::wait_queue pausers;

}  // namespace

void descriptor_freed() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // Pairs with the one in look().
  if (pausing.load(std::memory_order_relaxed) == 0) return;
  sched::runnable_batch woken;
  {
    std::lock_guard held(pausers.lock);
    closings.fetch_add(1, std::memory_order_release);  // Pairs with the load in look().
    sched::claim_all(pausers.waiters, woken);
  }
  sched::make_runnable(woken);
}

patience::patience(std::int64_t limit_ns, socket_is known_to) noexcept
    : limit_ns_(limit_ns), may_be_closed_(known_to == socket_is::shared) {
  pausing.fetch_add(1, std::memory_order_relaxed);
}
patience::~patience() { pausing.fetch_sub(1, std::memory_order_relaxed); }

void patience::look() noexcept {
  seen_ = closings.load(std::memory_order_acquire);     // Pairs with descriptor_freed()'s addition.
  std::atomic_thread_fence(std::memory_order_seq_cst);  // Pairs with the one in descriptor_freed().
}

bool patience::is_over() const noexcept { return sched::now_ns() >= limit_ns_; }

std::int64_t patience::next_pause_until_ns() noexcept {
  const auto until = std::min(limit_ns_, sched::now_ns() + pause_ns_);
  pause_ns_ = std::min(2 * pause_ns_, longest_pause_ns);
  return until;
}

void patience::mind(sched::found_watch found) noexcept {
  if (!watched_) watched_ = found;
}

bool patience::is_woken() const noexcept { return closings.load(std::memory_order_relaxed) != seen_; }

// A pause of a task. Nothing throws, cancellation included: where descriptors are short, throwing might need one.
struct patience::task_pause : detail::suspends_task {
  explicit task_pause(patience& p) noexcept : of(p) {}

  patience& of;
  detail::async_wait wait{};
  detail::async_timer timer{};

  bool await_ready() {
    return sched::begin_wait(
        wait, &timer, pausers, [this] { return of.is_woken(); }, of.next_pause_until_ns(), {&awaited_descriptor},
        sched::cancellation::reported);
  }
  void await_resume() {
    if (wait.at != detail::async_wait::state::waiting) return;
    if (sched::end_parking(&timer) != sched::claim_code::first_clause)
      sched::withdraw(pausers, sched::node_in(wait.node));
  }
};

bool socket::begin_pause(patience& p, std::error_code& error) {
  int failure = 0;
  auto* w = sched::this_worker();
  // Plain threads do not notice closing; in poll(2) they would not either.
  if (w && p.may_be_closed_) p.mind(watch_for(w->home, failure));
  if (failure == 0 && p.is_over()) failure = ETIMEDOUT;
  return report(failure, error);
}

bool socket::end_pause(const patience& p, std::error_code& error) {
  if (p.was_closed())
    error = std::make_error_code(std::errc::bad_file_descriptor);
  else if (sched::call_is_cancelled())
    error = std::make_error_code(std::errc::operation_canceled);
  return !error;
}

bool socket::pause(patience& p, std::error_code& error) {
  if (!begin_pause(p, error)) return false;
  sched::wait_until(
      pausers, [&p] { return p.is_woken(); }, p.next_pause_until_ns(), {&awaited_descriptor},
      sched::cancellation::reported);
  return end_pause(p, error);
}

task<bool> socket::async_pause(patience& p, std::error_code& error) {
  if (!begin_pause(p, error)) co_return false;
  patience::task_pause pause{p};
  co_await pause;
  co_return end_pause(p, error);
}

}  // namespace thrum::net
