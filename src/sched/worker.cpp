// Switching between fibers, the worker's loop, and the worker's side of the hand-off.
#include "sched/worker.hpp"

#include <cerrno>
#include <utility>

#include <cxxabi.h>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/diagnose.hpp"
#include "sched/fiber_end.hpp"
#include "sched/park.hpp"
#include "sched/processor.hpp"
#include "sched/scheduler.hpp"

namespace thrum::sched {
namespace {

constexpr int entries_per_look = 128;           // enter() reads the clock this often,
constexpr std::int64_t slice_ns = 1'000'000;    // and a fiber that has run so long gives way.
constexpr std::int64_t overrun_ns = 5'000'000;  // One that then does not suspend loses its processor.

// The stack tops are staggered by up to a kibibyte, so that a million fibers do not fight for the same cache sets.
std::size_t stagger(const fiber_control& f) noexcept { return (reinterpret_cast<std::uintptr_t>(&f) / 448 % 16) * 64; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Switching.

// Not instrumented: ThreadSanitizer's shadow stack changes in the middle. Inlined into the few places that switch,
// because after a switch the processor mispredicts the return from every function in between.
[[gnu::always_inline]] THRUM_NO_TSAN inline void worker::switch_away(worker& w, after_switch what,
                                                                     fiber_control* next) noexcept {
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
  context::context& target = next ? next->ctx : w.ctx_;
  context::leave_stack(self.sanitizer, next ? next->sanitizer : w.sanitizer_, what == after_switch::retire);
  context::switch_to(self.ctx, target);
  context::arrive_on_stack(self.sanitizer);
  worker& here = *this_worker();  // Not `w`: another thread may be running us now.
  *here.exceptions_ = self.exceptions;
  *here.errno_ = self.error_number;
  here.finish_switch();
}

[[gnu::noinline]] THRUM_NO_TSAN void worker::suspend(worker& w, after_switch what) noexcept {
  fiber_control* next = nullptr;
  if (w.p && w.p->tick.load(std::memory_order_relaxed) % scheduler::dispatches_per_look != 0 && !w.p->is_neglected())
    next = w.home.pick(*w.p);
  switch_away(w, what, next);
}

[[gnu::noinline]] THRUM_NO_TSAN void worker::yield(worker& w) noexcept {
  if (w.should_yield()) return switch_away(w, after_switch::yield_global, nullptr);
  auto& tick = w.p->tick;
  const auto t = tick.load(std::memory_order_relaxed);
  if (t % scheduler::dispatches_per_look == 0 || w.p->is_neglected())
    return switch_away(w, after_switch::yield, nullptr);
  if (auto* next = w.home.pick(*w.p)) return switch_away(w, after_switch::yield, next);
  tick.store(t + 1, std::memory_order_relaxed);  // Nobody else is here; the monitor sees that we yield.
}

THRUM_NO_TSAN void worker::finish(worker& w) noexcept {
  suspend(w, after_switch::retire);
  __builtin_unreachable();
}

// The worker loop enters a fiber; returns when a fiber switches back to the loop.
[[gnu::noinline]] THRUM_NO_TSAN void worker::run(fiber_control& f) noexcept {
  prepare(f);
  context::leave_stack(sanitizer_, f.sanitizer, false);
  context::switch_to(ctx_, f.ctx);
  context::arrive_on_stack(sanitizer_);
  finish_switch();
}

void worker::prepare(fiber_control& f) noexcept {
  current = &f;
  if (p) p->tick.store(p->tick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  yield_wanted_ = false;
  hogged_.store(f.hogged, std::memory_order_relaxed);
  if (f.phase.load(std::memory_order_relaxed) != fiber_phase::fresh) return;
  f.stack = home.take_stack(p, f);
  const auto size = std::size_t{1} << f.size_class;
  context::adopt_stack(f.sanitizer, f.stack.base(), size);
  context::make(f.ctx, f.stack.base() + size - stagger(f), &fiber_main, &f, fp_control_);
  f.phase.store(fiber_phase::started, std::memory_order_release);
}

// What the fiber that was left could not do for itself: it was still on its stack.
void worker::finish_switch() noexcept {
  if (auto* f = std::exchange(leaving_, nullptr)) after(*f, after_);
}

void worker::after(fiber_control& f, after_switch what) noexcept {
  switch (what) {
    case after_switch::nothing:
      return;
    case after_switch::park:
      return publish(f);
    case after_switch::yield:
      return home.requeue(*this, f);
    case after_switch::yield_global:
      return home.inject(f);
    case after_switch::retire:
      return home.retire(*this, f);
  }
}

void worker::publish(fiber_control& f) noexcept {
  const auto episode = f.word();
  if (!f.publish_parked()) return home.ready(f);
  // From here on f may be running elsewhere; its control block stays readable. The seq_cst read pairs with poke() in
  // cancel.cpp: either it sees the parked fiber or we see that it is to be cancelled.
  if (f.cancel_pending.load(std::memory_order_seq_cst) && f.claim_cancellable(episode) == claim_result::resume)
    home.ready(f);
}

THRUM_NO_TSAN void worker::fiber_main(void* argument) {
  auto& f = *static_cast<fiber_control*>(argument);
  {
    worker& w = *this_worker();
    context::arrive_on_stack(f.sanitizer);
    *w.exceptions_ = {};
    w.finish_switch();
    w.leave();
  }
  run_closure(f);
  worker* w = this_worker();
  if (!w) [[unlikely]]
    base::die_after_fork();  // A forked child has come to the end of the fiber.
  w->enter();
  finish(*w);
}

[[gnu::noinline]] THRUM_NO_TSAN void worker::give_way_if_asked() noexcept {
  worker* w = this_worker();
  w->enter();
  if (w->should_yield()) {
    switch_away(*w, after_switch::yield_global, nullptr);
    w = this_worker();
  }
  w->leave();
}

// ---------------------------------------------------------------------------------------------------------------
// Hand-off.

bool worker::owns_its_processor() const noexcept { return !p || p->owner.load(std::memory_order_relaxed) == this; }

void worker::enter_slow() noexcept {
  if (retake_requested() && p) {
    std::uint32_t expected = asked;
    // Still the owner: honour the request at the next call that may suspend. Otherwise the monitor has won.
    if (retake_.compare_exchange_strong(expected, none, std::memory_order_acq_rel))
      yield_wanted_ = true;
    else
      lose_processor();
  }
  if (budget_ < 0) {
    budget_ = entries_per_look;
    if (p && current) check_slice();
  }
}

void worker::lose_processor() noexcept {
  p = nullptr;
  if (current) current->hogged = true;
}

// A fiber that calls the runtime all the time but never waits would win every race for the processor: so it is timed
// here. It serves timers and poller itself, and gives way at its next call that may suspend as soon as that made
// somebody runnable, or when its slice is over. If it makes no such call it passes its processor on.
void worker::check_slice() noexcept {
  const auto now = home.now();
  const auto tick = p->tick.load(std::memory_order_relaxed);
  if (std::exchange(p->slice_tick, tick) != tick) p->slice_start = now;
  runnable_batch batch;
  home.serve(*p, now, true, batch);
  const bool woke = !batch.empty();
  home.ready(batch);
  if (!p->has_runnable() && home.global_size() == 0) return;
  const auto ran = now - p->slice_start;
  if (ran > overrun_ns)
    pass_on_processor();
  else if (woke || ran > slice_ns)
    yield_wanted_ = true;
}

void worker::pass_on_processor() noexcept {
  worker* spare = home.take_spare();
  if (!spare) return home.the_monitor().wake();
  // The monitor may be asking for the processor right now; the compare-and-swap decides who gives it away.
  std::uint32_t expected = none;
  const bool ours = retake_.compare_exchange_strong(expected, lost, std::memory_order_acq_rel) ||
                    (expected == asked && retake_.compare_exchange_strong(expected, lost, std::memory_order_acq_rel));
  processor& given = *p;
  lose_processor();
  if (ours)
    home.hand_over(given, *spare);
  else
    home.add_spare(*spare);
}

bool worker::try_retake() noexcept {
  std::uint32_t state = none;
  if (retake_.compare_exchange_strong(state, asked, std::memory_order_acq_rel)) {
    if (mutation::no_fence)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    else if (home.light_fence())
      os::membarrier_private();
    else
      std::atomic_thread_fence(std::memory_order_seq_cst);
  } else if (state == lost) {
    return false;
  }
  if (in_runtime()) return false;
  state = asked;
  return retake_.compare_exchange_strong(state, lost, std::memory_order_acq_rel);
}

void worker::assign(processor& given) noexcept {
  given_ = &given;
  assigned_.store(1, std::memory_order_release);
  os::futex_wake(assigned_, 1);
}

void worker::dismiss() noexcept {
  assigned_.store(1, std::memory_order_release);
  os::futex_wake(assigned_, 1);
}

void worker::wait_for_processor() noexcept {
  retake_.store(none, std::memory_order_relaxed);  // We own nothing that could be retaken.
  os::set_time_slice(os::thread_id(), worker_slice_ns);
  if (!home.add_spare(*this)) return;
  while (assigned_.load(std::memory_order_acquire) == 0) os::futex_wait(assigned_, 0);
  assigned_.store(0, std::memory_order_relaxed);
  p = std::exchange(given_, nullptr);
}

// ---------------------------------------------------------------------------------------------------------------
// The loop.

void worker::main_loop() noexcept {
  set_this_worker(this);
  tid.store(os::thread_id(), std::memory_order_relaxed);
  os::name_thread("thrum-worker");
  errno_ = &errno;
  exceptions_ = reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
  context::adopt_thread_stack(sanitizer_);
  fp_control_ = context::read_fp_control();
  os::want_exact_timers();
  os::set_time_slice(os::thread_id(), worker_slice_ns);
  prepare_signal_stack();
  if (!p) {
    home.spare_has_started();
    wait_for_processor();
  }
  while (p) {
    fiber_control* f = home.find_work(*this);
    if (!f) break;
    run(*f);
    current = nullptr;
    if (!p) wait_for_processor();
  }
  release_signal_stack();
  set_this_worker(nullptr);
}

}  // namespace thrum::sched
