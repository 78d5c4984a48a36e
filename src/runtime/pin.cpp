// pin.hpp: marking fibers as pinned. The scheduler brings them to their thread (scheduler::deliver).
#include <thrum/pin.hpp>

#include <stdexcept>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "sched/worker.hpp"

namespace thrum::this_fiber {

pin::pin() {
  auto* w = sched::this_worker();
  if (!w) {
    base::refuse_after_fork();
    return;
  }
  auto* f = w->current();
  if (!f) throw std::logic_error("thrum: a task cannot be pinned to a thread: use a fiber");
  if (f->is_pinned()) return;
  f->pinned_to.store(w, std::memory_order_relaxed);
  fiber_ = f;
}

pin::~pin() {
  if (!fiber_) return;
  if (sched::current_fiber() != fiber_) base::panic("a pin ends in another fiber than the one that made it");
  fiber_->pinned_to.store(nullptr, std::memory_order_relaxed);
}

}  // namespace thrum::this_fiber
