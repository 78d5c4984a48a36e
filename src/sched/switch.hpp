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

THRUM_SWITCHES inline worker& worker::switch_away(worker& w, after_switch what, fiber_control* next) noexcept {
  if (w.exceptions_->any()) [[unlikely]]
    return switch_amid_exception(w, what, next);
  return switch_plainly(w, what, next);
}

THRUM_SWITCHES inline worker& worker::switch_plainly(worker& w, after_switch what, fiber_control* next) noexcept {
  fiber_control& self = *w.current();
  check_suspension(self, what == after_switch::retire);
  self.error_number = *w.errno_;
  if (!self.stack.guarded()) [[unlikely]]
    check_canary(self);
  w.leaving_ = &self;
  w.after_ = what;
  if (next)
    w.prepare(*next);
  else
    w.set_current(nullptr);
  if (what == after_switch::retire) context::forget_frames(3);  // fiber_main, finish and this one.
  context::context& target = next ? next->ctx : w.ctx_;
  context::leave_stack(self.sanitizer, next ? next->sanitizer : w.sanitizer_, what == after_switch::retire);
  context::switch_to(self.ctx, target);
  worker& here = *this_worker();               // Not `w`: another thread may be running us now.
  fiber_control& same_self = *here.current();  // Cheaper than to keep it on the stack.
  context::arrive_on_stack(same_self.sanitizer);
  *here.errno_ = same_self.error_number;
  here.finish_switch();
  return here;
}

[[gnu::always_inline]] inline fiber_control* worker::pick_fiber(worker& w) noexcept {
  activity* next = w.p->pick_in_order();
  if (!next || (next->is_fiber() && !static_cast<fiber_control*>(next)->is_pinned())) [[likely]]
    return static_cast<fiber_control*>(next);
  w.picked_ = next;
  return nullptr;
}

THRUM_SWITCHES inline worker& worker::suspend(worker& w, after_switch what) noexcept {
  if (!w.p || w.p->count_dispatch()) [[unlikely]]
    return switch_to_loop(w, what);
  fiber_control* next = pick_fiber(w);
  if (!next) return switch_to_loop(w, what);
  return switch_away(w, what, next);
}

THRUM_SWITCHES inline worker& worker::yield(worker& w) noexcept {
  if (w.should_yield()) [[unlikely]]
    return switch_to_loop(w, after_switch::yield_global);
  if (w.p->count_dispatch()) [[unlikely]]
    return switch_to_loop(w, after_switch::yield);
  fiber_control* next = pick_fiber(w);
  if (next) [[likely]]
    return switch_away(w, after_switch::yield, next);
  if (w.picked_) return switch_to_loop(w, after_switch::yield);
  return w;  // Nobody else is here; the count tells the monitor that we yield.
}

// With many fibers, each comes back to control block and stack that have long left the cache. A queue of them tells in
// advance: while one runs, the block of the fourth next is fetched, and the top of the stack of the second next.
[[gnu::noinline]] inline void prefetch_ahead(const run_queue& queue) noexcept {
  const auto* far = reinterpret_cast<const char*>(queue.peek(3));
  if (!far) return;
  __builtin_prefetch(far);
  __builtin_prefetch(far + 128);
  const activity* near = queue.peek(1);
  if (!near || !near->is_fiber() || near->phase.load(std::memory_order_relaxed) != activity_phase::started)
    return;  // Both may have been stolen meanwhile, and be running: then this is in vain.
  const auto& sp = static_cast<const fiber_control*>(near)->ctx.sp;
  const char* top = static_cast<const char*>(__atomic_load_n(&sp, __ATOMIC_RELAXED));
  for (int line = 0; line < 6; ++line) __builtin_prefetch(top + line * 64);
}

[[gnu::always_inline]] inline void worker::prepare(fiber_control& f) noexcept {
  set_current(&f);
  if (p->crowded) [[unlikely]]
    prefetch_ahead(p->queue);
  yield_wanted_ = false;
  if (f.phase.load(std::memory_order_relaxed) != activity_phase::started) [[unlikely]]
    prepare_slow(f);
}

[[gnu::always_inline]] inline void worker::finish_switch() noexcept {
  if (after_ == after_switch::park) return publish(*leaving_, false);
  if (after_ == after_switch::yield) return home.requeue(*p, *leaving_);
  after_slow();
}

[[gnu::always_inline]] inline void worker::publish(activity& a, bool timed) noexcept {
  if (!a.stays_parked(timed)) [[unlikely]]
    home.ready(a);
}

}  // namespace thrum::sched
