// Futures: a flag and a queue.
#include <thrum/future.hpp>

#include <mutex>

#include "sched/wait.hpp"

namespace thrum::detail {

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
  sched::waiting w(sched::cancellation::point);
  sched::wait_node node(w);
  {
    std::lock_guard held(queue_.lock);
    if (ready_) return true;
    w.open();
    push_back(queue_.waiters, node);
  }
  static constexpr sched::wait_kind kind{"a future"};
  const auto code = w.park(deadline_ns, {&kind, this});
  if (code == sched::claim_code::first_clause) return true;
  withdraw(queue_, node);
  w.throw_if_cancelled(code);
  return false;
}

void future_core::rethrow_failure() const {
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace thrum::detail
