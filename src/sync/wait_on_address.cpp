// A table of queues, in which those who wait on addresses share one where the addresses' hashes agree.
#include <thrum/wait_on_address.hpp>

#include <cstdint>
#include <mutex>

#include <thrum/detail/shown_predicate.hpp>

#include "sched/park.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

struct alignas(64) bucket {
  wait_queue queue;
  std::uint32_t single_wake_ups = 0;  // Guarded by the queue's lock: how often one was chosen.
};
constinit bucket buckets[256];

bucket& bucket_for(const void* address) noexcept {
  const auto hash = reinterpret_cast<std::uintptr_t>(address) * 0x9e3779b97f4a7c15u;  // Fibonacci's.
  return buckets[hash >> 56];
}

// Under the queue's lock: there is nothing to wait for. Otherwise notes what came before the wait.
bool is_over(const address_wait& wait, const bucket& b) noexcept {
  if (wait.changed(wait.address, wait.old)) return true;
  wait.passed_over = b.single_wake_ups;
  return false;
}

const void* address_of(const void* wait) noexcept { return static_cast<const address_wait*>(wait)->address; }

// Part of the atomic may be what others count in, so another value alone is a hint. It is none once somebody was woken
// alone: whoever changed the atomic has told one, as it should.
const char* has_changed(const void* object, const sched::waiter&) noexcept {
  const auto& wait = *static_cast<const address_wait*>(object);
  auto& b = bucket_for(wait.address);
  std::lock_guard held(b.queue.lock);
  if (b.single_wake_ups != wait.passed_over) return nullptr;
  return wait.changed(wait.address, wait.old) ? "which has another value by now" : nullptr;
}
const char* condition_holds(const void* object, const sched::waiter&) noexcept {
  const auto* shown = static_cast<const address_wait*>(object)->shown;
  return shown && shown->holds() ? "although the predicate holds" : nullptr;
}

constexpr sched::wait_kind awaited_change{
    .what = "an address", .could_go_on = &has_changed, .told_by_program = true, .is_hint = true, .shown = &address_of};
constexpr sched::wait_kind awaited_condition{
    .what = "a condition variable", .could_go_on = &condition_holds, .told_by_program = true, .shown = &address_of};

sched::wait_reason reason_of(const address_wait& wait) noexcept {
  return {wait.of == address_wait::owner::condition ? &awaited_condition : &awaited_change, &wait};
}

}  // namespace

bool address_wait::wait_until_ns(std::int64_t deadline_ns) const {
  auto& b = bucket_for(address);
  return sched::wait_until(
      b.queue, [&] { return is_over(*this, b); }, deadline_ns, reason_of(*this), sched::cancellation::point,
      const_cast<void*>(address));
}

bool address_wait::begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns) const {
  auto& b = bucket_for(address);
  return sched::begin_wait(
      w, timer, b.queue, [&] { return is_over(*this, b); }, deadline_ns, reason_of(*this), sched::cancellation::point,
      const_cast<void*>(address));
}

// Who changes the value and then comes here finds everybody who saw the old one: they looked under the queue's lock.
void wake_by_address(const void* address, bool all) noexcept {
  sched::runnable_batch batch;
  auto& b = bucket_for(address);
  {
    std::lock_guard held(b.queue.lock);
    for (sched::wait_node* n = b.queue.waiters.first; n;) {
      auto& one = *n;
      n = n->next;
      if (one.slot != address) continue;
      remove(b.queue.waiters, one);
      if (!claim_waiter(*one.who, one.code, batch) || all) continue;
      ++b.single_wake_ups;
      break;
    }
  }
  make_runnable(batch);
}

}  // namespace thrum::detail
