// Futures: a flag and a queue.
#include <thrum/future.hpp>

#include <mutex>

#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

constexpr sched::wait_kind awaited_future{"a future"};

}  // namespace

void future_core::complete(std::exception_ptr failure) noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    failure_ = std::move(failure);
    ready_ = true;
    sched::claim_all(queue_.waiters, batch);
  }
  sched::make_runnable(batch);
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

void future_core::rethrow_failure() const {
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace thrum::detail
