// The wait group: a counter, and a queue for those who wait for zero.
#include <thrum/wait_group.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {

struct wait_group::waited_for {
  static const char* could_go_on(const void* group, const sched::waiter&) noexcept {
    const auto count = static_cast<const wait_group*>(group)->count_.load(std::memory_order_relaxed);
    return count == 0 ? "which is at zero" : nullptr;
  }
  static constexpr sched::wait_kind kind{.what = "a wait group", .could_go_on = &could_go_on};
};

wait_group::~wait_group() {
  // The last done() may still hold the lock: wait for it, so that a waiter may destroy the group at once.
  std::lock_guard held(queue_.lock);
  if (!queue_.waiters.empty()) base::panic("a wait_group is destroyed while somebody waits");
}

bool wait_group::change(std::int64_t count) noexcept {
  queue_.lock.touch();
  auto now = count_.load(std::memory_order_relaxed);
  while (now + count > 0)
    // Release pairs with the acquire in wait: what was done before done() is visible after wait().
    if (count_.compare_exchange_weak(now, now + count, std::memory_order_acq_rel, std::memory_order_relaxed))
      return true;
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    now = count_.fetch_add(count, std::memory_order_acq_rel) + count;
    if (now < 0) {
      count_.fetch_sub(count, std::memory_order_relaxed);
      return false;
    }
    if (now == 0) claim_all(queue_.waiters, batch);
  }
  make_runnable(batch);
  return true;
}

bool wait_group::wait_until_ns(std::int64_t deadline_ns) {
  return sched::wait_until(queue_, [this] { return count_.load(std::memory_order_acquire) == 0; }, deadline_ns,
                           {&waited_for::kind, this});
}

bool wait_group::begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns) {
  return sched::begin_wait(w, timer, queue_, [this] { return count_.load(std::memory_order_acquire) == 0; },
                           deadline_ns, {&waited_for::kind, this});
}

}  // namespace thrum
