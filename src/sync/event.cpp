// The event: a flag, and a queue for those who wait for it.
#include <thrum/event.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace {

const char* set_already(const void* e, const sched::waiter&) noexcept {
  return static_cast<const event*>(e)->is_set() ? "which is set" : nullptr;
}

constexpr sched::wait_kind awaited_event{.what = "an event", .could_go_on = &set_already};

}  // namespace

event::~event() {
  // set() may still hold the lock: wait for it, so that a waiter may destroy the event at once.
  std::lock_guard held(queue_.lock);
  if (!queue_.waiters.empty()) base::panic("an event is destroyed while somebody waits");
}

void event::set() noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    set_.store(true, std::memory_order_release);  // Pairs with the acquire in is_set() and wait.
    claim_all(queue_.waiters, batch);
  }
  make_runnable(batch);
}

bool event::wait_until_ns(std::int64_t deadline_ns) {
  return sched::wait_until(queue_, [this] { return is_set(); }, deadline_ns, {&awaited_event, this});
}

bool event::begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns) {
  return sched::begin_wait(w, timer, queue_, [this] { return is_set(); }, deadline_ns, {&awaited_event, this});
}

}  // namespace thrum
