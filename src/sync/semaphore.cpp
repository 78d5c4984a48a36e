// The semaphore: a word of permits, and a queue to whose head a released permit is handed.
#include <thrum/semaphore.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

constexpr std::ptrdiff_t may_wait = 1, permit = 2;

}  // namespace

struct semaphore_core::waited_for {
  static const char* could_go_on(const void* core, const sched::waiter&) noexcept {
    const auto w = static_cast<const semaphore_core*>(core)->word_.load(std::memory_order_relaxed);
    return w >= permit ? "which has permits" : nullptr;
  }
  static constexpr sched::wait_kind kind{.what = "a semaphore", .could_go_on = &could_go_on};
};

semaphore_core::semaphore_core(std::ptrdiff_t permits, std::ptrdiff_t max) : max_(max), word_(permits * permit) {
  if (permits < 0 || permits > max) throw semaphore_overflow();
}

semaphore_core::~semaphore_core() {
  // A releaser may still hold the lock: wait for it, so that whoever got its permit may destroy the semaphore.
  std::lock_guard held(queue_.lock);
  if (!queue_.waiters.empty()) base::panic("a semaphore is destroyed while somebody waits");
}

bool semaphore_core::try_acquire() noexcept {
  queue_.lock.touch();
  auto w = word_.load(std::memory_order_relaxed);
  while (w >= permit)
    // Acquire pairs with the release in release().
    if (word_.compare_exchange_weak(w, w - permit, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

// Under the queue's lock. True: a permit was taken. False: the word says that somebody may wait.
bool semaphore_core::announce() noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  for (;;) {
    const auto next = w >= permit ? w - permit : w | may_wait;
    if (word_.compare_exchange_weak(w, next, std::memory_order_acquire, std::memory_order_relaxed)) return w >= permit;
  }
}

bool semaphore_core::acquire_until_ns(std::int64_t deadline_ns) {
  const auto call = sched::begin_call();
  if (!call.cancelled && try_acquire()) return true;
  return sched::wait_until(queue_, [this] { return announce(); }, deadline_ns, {&waited_for::kind, this});
}

bool semaphore_core::begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns) {
  sched::begin_task_call(sched::cancellation::point);
  if (try_acquire()) return sched::go_on();
  return sched::begin_wait(w, timer, queue_, [this] { return announce(); }, deadline_ns, {&waited_for::kind, this});
}

void semaphore_core::release(std::ptrdiff_t count) {
  if (count < 0 || count > max_) throw semaphore_overflow();
  queue_.lock.touch();
  auto w = word_.load(std::memory_order_relaxed);
  while (!(w & may_wait)) {
    if (w / permit > max_ - count) throw semaphore_overflow();
    if (word_.compare_exchange_weak(w, w + count * permit, std::memory_order_release, std::memory_order_relaxed))
      return;
  }
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    if (word_.load(std::memory_order_relaxed) / permit > max_ - count) throw semaphore_overflow();
    while (count > 0 && !queue_.waiters.empty()) {
      sched::wait_node& first = *queue_.waiters.first;
      remove(queue_.waiters, first);
      if (claim_waiter(*first.who, first.code, batch)) --count;
    }
    if (count > 0) word_.fetch_add(count * permit, std::memory_order_release);
    // Whoever waits announces it under this lock.
    if (queue_.waiters.empty()) word_.fetch_and(~may_wait, std::memory_order_relaxed);
  }
  make_runnable(batch);
}

}  // namespace thrum::detail
