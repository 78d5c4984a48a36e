// Switching from fiber to fiber: the hot half of worker.hpp, inlined into every call that waits.
//
// A fiber that gives way picks its successor and switches to it directly; the worker's loop is entered only when
// nothing is at hand or something else is due. What has to be done with the fiber that was left (publish it, queue it)
// is done by whoever runs next on the thread, in finish_switch(): until then it was still on its stack.
#pragma once

#include <utility>

#include "sched/diagnose.hpp"
#include "sched/processor.hpp"
#include "sched/scheduler.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {

THRUM_SWITCHES inline void worker::switch_away(worker& w, after_switch what, fiber_control* next) noexcept {
  fiber_control& self = *w.current;
  self.exceptions = *w.exceptions_;
  self.error_number = *w.errno_;
  if (!self.stack.guarded() && !self.stack.canary_intact()) [[unlikely]]
    report_overflow(self);
  w.leaving_ = &self;
  w.after_ = what;
  if (next)
    w.prepare(*next);
  else
    w.current = nullptr;
  if (what == after_switch::retire) context::forget_frames(3);  // fiber_main, finish and this one.
  context::context& target = next ? next->ctx : w.ctx_;
  context::leave_stack(self.sanitizer, next ? next->sanitizer : w.sanitizer_, what == after_switch::retire);
  context::switch_to(self.ctx, target);
  context::arrive_on_stack(self.sanitizer);
  worker& here = *this_worker();  // Not `w`: another thread may be running us now.
  *here.exceptions_ = self.exceptions;
  *here.errno_ = self.error_number;
  here.finish_switch();
}

THRUM_SWITCHES inline void worker::suspend(worker& w, after_switch what) noexcept {
  fiber_control* next = nullptr;
  if (w.p && !w.p->look_is_due()) next = w.home.pick(*w.p);
  switch_away(w, what, next);
}

THRUM_SWITCHES inline void worker::yield(worker& w) noexcept {
  fiber_control* next = nullptr;
  auto what = after_switch::yield;
  if (w.should_yield()) {
    what = after_switch::yield_global;
  } else if (!w.p->look_is_due()) {
    next = w.home.pick(*w.p);
    if (!next) return w.p->count_dispatch();  // Nobody else is here; the monitor sees that we yield.
  }
  switch_away(w, what, next);
}

// With many fibers, each comes back to control block and stack that have long left the cache. A queue of them tells in
// advance: while one runs, the block of the fourth next is fetched, and the top of the stack of the second next.
[[gnu::noinline]] inline void prefetch_ahead(const run_queue& queue) noexcept {
  const auto* far = reinterpret_cast<const char*>(queue.peek(3));
  if (!far) return;
  __builtin_prefetch(far);
  __builtin_prefetch(far + 64);
  const fiber_control* near = queue.peek(1);
  if (!near || near->phase.load(std::memory_order_relaxed) != fiber_phase::started)
    return;  // Both may have been stolen meanwhile, and be running: then this is in vain.
  const char* top = static_cast<const char*>(__atomic_load_n(&near->ctx.sp, __ATOMIC_RELAXED));
  for (int line = 0; line < 6; ++line) __builtin_prefetch(top + line * 64);
}

[[gnu::always_inline]] inline void worker::prepare(fiber_control& f) noexcept {
  current = &f;
  if (p) {
    p->count_dispatch();
    if (p->crowded) [[unlikely]]
      prefetch_ahead(p->queue);
  }
  yield_wanted_ = false;
  hogged_.store(f.hogged, std::memory_order_relaxed);
  if (f.phase.load(std::memory_order_relaxed) == fiber_phase::fresh) [[unlikely]]
    bind_stack(f);
}

[[gnu::always_inline]] inline void worker::finish_switch() noexcept {
  auto* f = std::exchange(leaving_, nullptr);
  if (!f) return;
  if (after_ == after_switch::park) return publish(*f);
  if (after_ == after_switch::yield) return home.requeue(*this, *f);
  after_slow(*f, after_);
}

[[gnu::always_inline]] inline void worker::publish(fiber_control& f) noexcept {
  const auto episode = f.word();
  if (!f.publish_parked()) [[unlikely]]
    return home.ready(f);
  // From here on f may be running elsewhere; its control block stays readable. The seq_cst read pairs with poke() in
  // cancel.cpp: either it sees the parked fiber or we see that it is to be cancelled.
  if (f.cancel_pending.load(std::memory_order_seq_cst)) [[unlikely]]
    cancel_parked(f, episode);
}

}  // namespace thrum::sched
