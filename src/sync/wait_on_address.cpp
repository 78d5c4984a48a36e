// A table of queues, in which those who wait on addresses share one where the addresses' hashes agree.
#include <thrum/wait_on_address.hpp>

#include <cstdint>
#include <mutex>

#include "sched/park.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

constexpr sched::wait_kind awaited_change{"an address"};

struct alignas(64) bucket {
  wait_queue queue;
};
constinit bucket buckets[256];

wait_queue& queue_for(const void* address) noexcept {
  const auto hash = reinterpret_cast<std::uintptr_t>(address) * 0x9e3779b97f4a7c15u;  // Fibonacci's.
  return buckets[hash >> 56].queue;
}

}  // namespace

bool address_wait::wait_until_ns(std::int64_t deadline_ns) const {
  return sched::wait_until(
      queue_for(address), [this] { return changed(address, old); }, deadline_ns, {&awaited_change, address},
      sched::cancellation::point, const_cast<void*>(address));
}

bool address_wait::begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns) const {
  return sched::begin_wait(
      w, timer, queue_for(address), [this] { return changed(address, old); }, deadline_ns, {&awaited_change, address},
      sched::cancellation::point, const_cast<void*>(address));
}

// Who changes the value and then comes here finds everybody who saw the old one: they looked under the queue's lock.
void wake_by_address(const void* address, bool all) noexcept {
  sched::runnable_batch batch;
  auto& q = queue_for(address);
  {
    std::lock_guard held(q.lock);
    for (auto* n = q.waiters.first; n;) {
      auto& one = *n;
      n = n->next;
      if (one.slot != address) continue;
      remove(q.waiters, one);
      if (claim_waiter(*one.who, one.code, batch) && !all) break;
    }
  }
  make_runnable(batch);
}

}  // namespace thrum::detail
