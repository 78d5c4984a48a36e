// cpu.hpp: fibers that say that they compute.
#include <thrum/cpu.hpp>

#include <thrum/cancelled.hpp>

#include "sched/wait.hpp"
#include "sched/worker.hpp"

namespace thrum {
namespace detail {

computing::computing() noexcept : who_(sched::current_activity()) {
  if (who_) before_ = who_->hogged.exchange(true, std::memory_order_relaxed);
}

// Who has said so beforehand is not marked for having lost a processor.
computing::~computing() {
  if (who_) who_->hogged.store(before_, std::memory_order_relaxed);
}

}  // namespace detail

// A plain thread is no worker: it has nobody to give way to.
void this_fiber::maybe_yield() {
  if (sched::this_worker() && sched::begin_call().cancelled) throw cancelled{};
}

}  // namespace thrum
