// Futures: a flag, a queue of those who wait, and a list of what else is to happen.
//
// A continuation is in the list only while the result is not ready. complete() takes all of them in the same critical
// section in which it says "ready", and runs them after unlocking: so withdraw() knows by the flag alone whether a
// continuation will still run, and a continuation may use the result, register with another one or destroy itself.
#include <thrum/future.hpp>

#include <mutex>

#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

const char* ready_already(const void* core, const sched::waiter&) noexcept {
  return static_cast<const future_core*>(core)->ready() ? "which is ready" : nullptr;
}

constexpr sched::wait_kind awaited_future{.what = "a future", .could_go_on = &ready_already};

}  // namespace

void future_core::complete(std::exception_ptr failure) noexcept {
  sched::runnable_batch batch;
  continuation* c;
  {
    std::lock_guard held(queue_.lock);
    failure_ = std::move(failure);
    ready_ = true;
    sched::claim_all(queue_.waiters, batch);
    c = std::exchange(first_, nullptr);
  }
  sched::make_runnable(batch);
  while (c) {
    auto& one = *c;
    c = c->next;
    one.run(one);
  }
}

bool future_core::ready() const noexcept {
  std::lock_guard held(queue_.lock);
  return ready_;
}

bool future_core::wait_until_ns(std::int64_t deadline_ns) {
  return sched::wait_until(queue_, [this] { return ready_; }, deadline_ns, {&awaited_future, this});
}

bool future_core::begin_wait(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns) {
  return sched::begin_wait(w, timer, queue_, [this] { return ready_; }, deadline_ns, {&awaited_future, this});
}

select_clause future_core::describe() noexcept {
  return {.kind = clause_kind::condition, .element = this, .queue = &queue_, .holds = [](const void* core) noexcept {
            return static_cast<const future_core*>(core)->ready_;
          }};
}

void future_core::rethrow_failure() const {
  if (failure_) std::rethrow_exception(failure_);
}

void future_core::when_ready(continuation& c) noexcept {
  {
    std::lock_guard held(queue_.lock);
    if (!ready_) {
      c.previous = nullptr;
      c.next = first_;
      if (first_) first_->previous = &c;
      first_ = &c;
      return;
    }
  }
  c.run(c);
}

bool future_core::withdraw(continuation& c) noexcept {
  std::lock_guard held(queue_.lock);
  if (ready_) return false;
  (c.previous ? c.previous->next : first_) = c.next;
  if (c.next) c.next->previous = c.previous;
  return true;
}

std::exception_ptr broken_promise_failure() noexcept { return std::make_exception_ptr(broken_promise()); }

}  // namespace thrum::detail
