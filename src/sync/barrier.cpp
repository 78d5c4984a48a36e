// The barrier: a phase that ends when nobody remains to arrive, and a queue for those who wait for its end.
#include <thrum/barrier.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {

struct barrier_core::waited_for {
  // A waiter's node keeps the phase that it waits for.
  static void* as_slot(std::uint64_t phase) noexcept { return reinterpret_cast<void*>(phase); }
  static const char* could_go_on(const void* core, const sched::waiter& who) noexcept {
    auto& b = *static_cast<barrier_core*>(const_cast<void*>(core));
    std::lock_guard held(b.queue_.lock);
    const auto* n = node_of(b.queue_.waiters, who);
    return n && n->slot != as_slot(b.phase_) ? "whose phase is over" : nullptr;
  }
  static constexpr sched::wait_kind kind{.what = "a barrier", .could_go_on = &could_go_on};
};

barrier_core::barrier_core(std::ptrdiff_t expected) : expected_(expected), remaining_(expected) {
  if (expected < 0) throw barrier_overrun();
}

barrier_core::~barrier_core() {
  // The last to arrive may still hold the lock: wait for it, so that a waiter may destroy the barrier at once.
  std::lock_guard held(queue_.lock);
  if (!queue_.waiters.empty()) base::panic("a barrier is destroyed while somebody waits");
}

std::uint64_t barrier_core::arrive(std::ptrdiff_t n, bool drop, void (*last)(void*) noexcept, void* completion) {
  std::uint64_t phase;
  {
    std::lock_guard held(queue_.lock);
    if (n < 0 || n > remaining_) throw barrier_overrun();
    phase = phase_;
    remaining_ -= n;
    if (drop) --expected_;
    if (remaining_ > 0 || n == 0) return phase;
  }
  // Until the phase ends nobody else can arrive.
  last(completion);
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    ++phase_;
    remaining_ = expected_;
    claim_all(queue_.waiters, batch);
  }
  make_runnable(batch);
  return phase;
}

bool barrier_core::wait_until_ns(std::uint64_t phase, std::int64_t deadline_ns) {
  return sched::wait_until(
      queue_, [this, phase] { return phase_ != phase; }, deadline_ns, {&waited_for::kind, this},
      sched::cancellation::point, waited_for::as_slot(phase));
}

bool barrier_core::begin_wait(std::uint64_t phase, detail::async_wait& w, detail::async_timer* timer,
                              std::int64_t deadline_ns) {
  return sched::begin_wait(
      w, timer, queue_, [this, phase] { return phase_ != phase; }, deadline_ns, {&waited_for::kind, this},
      sched::cancellation::point, waited_for::as_slot(phase));
}

}  // namespace thrum::detail
