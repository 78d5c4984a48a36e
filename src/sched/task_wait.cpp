// Beginning and ending a task's waits.
#include "sched/task_wait.hpp"

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "sched/fiber_end.hpp"
#include "sched/scheduler.hpp"
#include "sched/switch.hpp"

namespace thrum::sched {
namespace {

timer& timer_of(detail::async_timer& t) noexcept {
  static_assert(sizeof(t.timer) >= sizeof(timer) && alignof(timer) <= 8);
  return *std::launder(reinterpret_cast<timer*>(t.timer));
}

void arm(task_control& t, std::int64_t deadline_ns, detail::async_timer& where) noexcept {
  auto& timeout = *new (where.timer) timer;
  timeout.when = deadline_ns;
  timeout.who = &t;
  timeout.episode = t.word();
  runtime_section inside;
  t.home->arm(timeout);
  where.armed = true;
}

// The monitor has asked, or its time is up; or, `or_may`, a pick policy wants it.
bool must_give_way(worker& w, bool or_may) noexcept {
  w.enter();
  const bool must = w.should_yield() || (or_may && w.is_preempted());
  w.leave();
  return must;
}

}  // namespace

task_control& begin_task_call(cancellation c) {
  worker* w = this_worker();
  task_control* t = w ? w->task() : nullptr;
  if (!t) base::panic("co_await of a thrum call outside of a thrum task");
  if (c == cancellation::point && t->cancel_pending.load(std::memory_order_acquire)) [[unlikely]]
    throw cancelled{};
  return *t;
}

bool go_on() noexcept {
  worker* w = this_worker();
  if (!w->wants_slow_entry() || !must_give_way(*w, true)) [[likely]]
    return true;
  w->plan(after_switch::yield_global);
  return false;
}

void yield_task() noexcept {
  worker* w = this_worker();
  w->plan(must_give_way(*w, false) ? after_switch::yield_global : after_switch::yield);
}

void park_task(task_control& t, wait_reason reason, std::int64_t deadline_ns, detail::async_timer* timer) noexcept {
  t.reason = reason;
  this_worker()->plan(deadline_ns == never ? after_switch::park : after_switch::park_timed);
  if (deadline_ns != never) arm(t, deadline_ns, *timer);
}

claim_code end_parking(detail::async_timer* timer) noexcept {
  const auto code = current_task()->code();
  if (timer && timer->armed && code != claim_code::timed_out) timer_set::cancel(timer_of(*timer));
  return code;
}

bool begin_join(activity& a, detail::async_wait& w) {
  auto& self = begin_task_call(cancellation::point);
  if (&self == &a) base::panic("a task joins itself");
  if (has_ended(a)) return go_on();
  if (!begin_join(a, self, self.open_episode(true))) {
    self.close_episode();
    end_join(a, self, claim_code::first_clause);
    return go_on();
  }
  w.at = detail::async_wait::state::waiting;
  park_task(self, join_reason(a), never, nullptr);
  return false;
}

void end_join(activity& a, const detail::async_wait& w) {
  if (w.at == detail::async_wait::state::satisfied) return;
  auto& self = *current_task();
  if (!end_join(a, self, end_parking(nullptr))) throw cancelled{};
}

}  // namespace thrum::sched

namespace thrum::detail {

void suspend_task(void* coroutine) noexcept { sched::this_worker()->task()->resume_point = coroutine; }

bool end_wait(async_wait& wait, async_timer* timer) {
  if (wait.at == async_wait::state::satisfied) return true;
  const auto code = sched::end_parking(timer);
  if (code == sched::claim_code::first_clause) return true;
  withdraw(*wait.queue, sched::node_in(wait.node));
  sched::throw_if_cancelled(code);
  return false;
}

}  // namespace thrum::detail
