// Lists of waiters, and the episode itself.
#include "sched/wait.hpp"

#include <mutex>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "os/clock.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {

void withdraw(detail::wait_queue& q, wait_node& n) noexcept {
  std::lock_guard held(q.lock);
  if (n.linked) remove(q.waiters, n);
}

const wait_node* node_of(const detail::wait_list& list, const waiter& who) noexcept {
  const wait_node* n = list.first;
  while (n && n->who != &who) n = n->next;
  return n;
}

claimed_waiter claim_first(detail::wait_list& list) noexcept {
  wait_node& n = *list.first;
  remove(list, n);
  waiter* who = n.who;
  const auto r = who->claim(n.code);
  if (r == claim_result::too_late) return {};
  return {who, r == claim_result::resume ? who : nullptr};
}

claimed_waiter claim_front(detail::wait_list& list) noexcept {
  claimed_waiter c;
  while (!c.who && list.first) c = claim_first(list);
  return c;
}

void claim_all(detail::wait_list& list, runnable_batch& out) noexcept {
  while (wait_node* n = list.first) {
    remove(list, *n);
    claim_waiter(*n->who, n->code, out);
  }
}

waiter& task_or_thread_waiter() noexcept {
  if (auto* t = current_task()) return *t;
  return thread_waiter::mine();
}

waiter& thread_that_may_wait() noexcept {
  if (current_task()) base::panic("a task called a function that blocks: it must co_await the async_ twin");
  return thread_waiter::mine();
}

std::uint32_t random_below(std::uint32_t bound) noexcept {
  {
    runtime_section inside;
    if (inside.w && inside.w->p) {
      auto& source = *inside.w->p->random;
      detail::touch(&source);  // It has given out so many numbers.
      return static_cast<std::uint32_t>((source.next() >> 32) * bound >> 32);
    }
  }
  // On threads without a processor there is no seeded source to draw from.
  thread_local base::rng own(reinterpret_cast<std::uintptr_t>(&own));
  return own.below(bound);
}

std::int64_t now_ns() noexcept {
  auto* w = this_worker();
  return w ? w->home.now() : os::now_ns();
}

void waiting::park_thread(waiter& self, std::int64_t deadline_ns, wait_reason reason) noexcept {
  static_cast<thread_waiter&>(self).park(deadline_ns == never ? os::no_deadline : deadline_ns, reason);
}

void waiting::park_until(fiber_control& f, std::int64_t deadline_ns, std::uint64_t episode) noexcept {
  timer timeout;
  timeout.when = deadline_ns;
  timeout.who = &f;
  timeout.episode = episode;
  {
    runtime_section inside;
    f.home->arm(timeout);
  }
  suspend_fiber(after_switch::park_timed);
  if (f.code() != claim_code::timed_out) timer_set::cancel(timeout);
}

}  // namespace thrum::sched
