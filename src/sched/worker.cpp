// The worker's loop, the less frequent side of switching (switch.hpp has the other), and the worker's side of the
// hand-off.
#include "sched/worker.hpp"

#include <cerrno>
#include <utility>

#include <cxxabi.h>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "os/clock.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/diagnose.hpp"
#include "sched/fiber_end.hpp"
#include "sched/lifecycle.hpp"
#include "sched/park.hpp"
#include "sched/processor.hpp"
#include "sched/scheduler.hpp"
#include "sched/stall_watch.hpp"
#include "sched/switch.hpp"

namespace thrum::sched {
namespace {

constexpr int entries_per_look = 128;           // enter() reads the clock this often,
constexpr std::int64_t slice_ns = 1'000'000;    // and a fiber that has run so long gives way.
constexpr std::int64_t overrun_ns = 5'000'000;  // One that then does not suspend loses its processor.

auto fence_in(scheduler& home) noexcept {
  return [&home] {
    if (!mutation::no_fence) home.fence_of_few();
  };
}

// The stack tops are staggered by up to a kibibyte, so that a million fibers do not fight for the same cache sets.
std::size_t stagger(const fiber_control& f) noexcept {
  // An odd multiple of 128 bytes goes through all sixteen without a division by its size.
  constexpr std::size_t unit = sizeof(fiber_control) % 256 == 128 ? 128 : sizeof(fiber_control);
  return reinterpret_cast<std::uintptr_t>(&f) / unit % 16 * 64;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Switching.

// To the worker's loop, which looks at timers, poller and global queue, or sleeps.
[[gnu::noinline]] THRUM_NO_TSAN worker& worker::switch_to_loop(worker& w, after_switch what) noexcept {
  if (!w.p) w.judge_blocker(*w.current());
  return switch_away(w, what, nullptr);
}

// Between two fibers the thread's exception state is empty: one that handles an exception, or unwinds, takes its own
// along.
[[gnu::noinline]] THRUM_NO_TSAN worker& worker::switch_amid_exception(worker& w, after_switch what,
                                                                      fiber_control* next) noexcept {
  w.current()->exceptions = std::exchange(*w.exceptions_, {});
  worker& here = switch_plainly(w, what, next);
  *here.exceptions_ = here.current()->exceptions;
  return here;
}

THRUM_NO_TSAN void worker::finish(worker& w) noexcept {
  fiber_control* next = nullptr;
  const bool look = !w.p || w.p->count_dispatch();
  if (!look && w.p->may_switch_directly()) next = claim_parked_joiner(*w.current());
  if (!next) {
    w.joiner_ = announce_end(*w.current());
    if (!look) next = pick_fiber(w);
  } else if (next->is_pinned()) [[unlikely]] {
    w.picked_ = std::exchange(next, nullptr);
  }
  switch_plainly(w, after_switch::retire, next);
  __builtin_unreachable();
}

void worker::run(activity& a) noexcept {
  if (!a.is_fiber()) return run(static_cast<task_control&>(a));
  auto& f = static_cast<fiber_control&>(a);
  const worker* only = f.pinned_to.load(std::memory_order_relaxed);
  if (only && only != this) [[unlikely]]
    return home.deliver(f, *this);
  run(f);
}

// The worker loop enters a fiber; returns when a fiber switches back to the loop.
[[gnu::noinline]] THRUM_NO_TSAN void worker::run(fiber_control& f) noexcept {
  prepare(f);
  after_ = after_switch::nothing;
  context::leave_stack(sanitizer_, f.sanitizer, false);
  context::switch_to(ctx_, f.ctx);
  context::arrive_on_stack(sanitizer_);
  finish_switch();
  set_current(nullptr);
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks.

[[gnu::noinline]] void worker::run(task_control& t) noexcept {
  task_.store(&t, std::memory_order_release);  // Pairs with running_there().
  yield_wanted_ = false;
  after_ = after_switch::nothing;
  if (t.phase.load(std::memory_order_relaxed) == activity_phase::blocker)
    do_without_processor();
  else
    t.phase.store(activity_phase::started, std::memory_order_relaxed);
  leave();
  run_coroutines(t.resume_point);
  check_suspension(t, after_ == after_switch::retire);
  if (after_ == after_switch::retire) {
    if (t.locals) [[unlikely]]
      t.locals->end(t.locals);
    joiner_ = announce_end(t, task_failure_);
    // Its frame may hold the user's objects.
    if (joiner_ == activity::nobody_will_join() || joiner_ == activity::dropped())
      __builtin_coro_destroy(t.resume_point);
  }
  enter();
  if (!p) judge_blocker(t);
  task_.store(nullptr, std::memory_order_relaxed);
  settle(t);
}

// User code: outside the runtime, on this thread's stack.
void worker::run_coroutines(void* coroutine) noexcept {
  do {
    transfer_to_ = nullptr;
    transfers_left_ = transfers_max;
    __builtin_coro_resume(coroutine);
    coroutine = transfer_to_;
  } while (coroutine);
}

// The task's coroutines are suspended. From here on it may be resumed elsewhere.
void worker::settle(task_control& t) noexcept {
  switch (after_) {
    case after_switch::park:
      return publish(t, false);
    case after_switch::park_timed:
      return publish(t, true);
    case after_switch::yield:
      if (p) return home.requeue(*p, t);
      [[fallthrough]];
    case after_switch::yield_global:
      return home.inject(t);
    case after_switch::retire:
      return home.retire(*this, t, std::exchange(joiner_, nullptr));
    case after_switch::nothing:
      base::panic("a task waits for something that is not thrum's, which cannot resume it");
  }
}

// Between two tasks, and from a fiber to a task, without a look at the clock unless that is due.
activity* worker::next_to_run() noexcept {
  if (auto* a = std::exchange(picked_, nullptr)) return a;
  if (auto* f = home.take_mail(*this)) return f;
  if (!p->count_dispatch())
    if (auto* a = p->pick_in_order()) return a;
  return home.find_work(*this);
}

[[gnu::noinline]] void worker::prepare_slow(fiber_control& f) noexcept {
  f.phase.load(std::memory_order_relaxed) == activity_phase::fresh ? bind_stack(f) : do_without_processor();
}

void worker::bind_stack(fiber_control& f) noexcept {
  f.stack = home.take_stack(p, f);
  const auto size = std::size_t{1} << f.size_class;
  context::adopt_stack(f.sanitizer, f.stack.base(), size);
  context::make(f.ctx, f.stack.base() + size - stagger(f), &fiber_main, &f, fp_control_);
  f.phase.store(activity_phase::started, std::memory_order_release);
}

void worker::check_canary(const fiber_control& f) noexcept {
  if (!f.stack.canary_intact()) report_overflow(f);
}

[[gnu::noinline]] void worker::after_slow() noexcept {
  if (after_ == after_switch::nothing) return;  // From the worker's loop: no fiber was left.
  if (after_ == after_switch::park_timed) return publish(*leaving_, true);
  if (after_ == after_switch::yield_global) return home.inject(*leaving_);
  THRUM_ASSERT(after_ == after_switch::retire);
  home.retire(*this, *leaving_, std::exchange(joiner_, nullptr));
}

THRUM_NO_TSAN void worker::fiber_main(void* argument) {
  auto& f = *static_cast<fiber_control*>(argument);
  {
    worker& w = *this_worker();
    context::arrive_on_stack(f.sanitizer);
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
  if (w->should_yield())
    w = &switch_to_loop(*w, after_switch::yield_global);
  else if (w->is_preempted())
    w = &switch_away(*w, after_switch::yield, nullptr);
  w->leave();
}

// ---------------------------------------------------------------------------------------------------------------
// Hand-off.

std::uint32_t worker::number_of(const processor* p) noexcept { return p ? p->index + 1 : 0; }

bool worker::is_preempted() const noexcept { return p && p->policy && p->policy->preempts(*running()); }

bool worker::owns_its_processor() const noexcept { return !p || p->owner.load(std::memory_order_relaxed) == this; }

void worker::enter_slow() noexcept {
  bool used_up = budget_ < 0;
  if (!light_fence_) {
    if (!mutation::no_fence) detail::atomic_thread_fence(std::memory_order_seq_cst);
    budget_ = 0;
    used_up = --entries_left_ < 0;
  }
  if (hand_off_.requested() && p) {
    // Still the owner: honour the request at the next call that may suspend. Otherwise the monitor has won.
    if (hand_off_.keep(number_of(p)))
      yield_wanted_ = true;
    else
      lose_processor();
  }
  if (used_up) {
    const bool look = !p || !p->policy;  // A policy is asked at each call that may suspend, and rules over time.
    (light_fence_ ? budget_ : entries_left_) = look ? entries_per_look : 0;
    if (look && p && running()) check_slice();
  }
  if (yield_wanted_) budget_ = 0;  // The next call that may suspend finds it used up.
}

void worker::lose_processor() noexcept {
  p = nullptr;
  yield_wanted_ = true;
  activity* a = running();
  if (!a) return;
  a->hogged.store(true, std::memory_order_relaxed);
  if (sits_in_kernel.exchange(false, std::memory_order_relaxed))
    a->phase.store(activity_phase::blocker, std::memory_order_release);
}

// Who is about to run has lost its last processor because it sat in the kernel: it will probably sit there again, for
// as long as the monitor needs to see it. So a spare thread, if there is one, gets the processor beforehand.
void worker::do_without_processor() noexcept {
  if (home.the_monitor().stalls().on()) return;  // The log is to tell of it.
  worker* other = home.take_spare();
  if (!other) return;
  if (after_ == after_switch::yield) after_ = after_switch::yield_global;  // Who was left does without it, too.
  stuck_since_ns.store(os::now_ns(), std::memory_order_relaxed);
  give_processor_to(*other);
}

// It is about to be suspended, without a processor. If it has not been in the kernel for long it keeps the next one.
void worker::judge_blocker(activity& a) noexcept {
  if (a.phase.load(std::memory_order_relaxed) != activity_phase::blocker) return;
  const auto since = stuck_since_ns.load(std::memory_order_relaxed);
  if (os::now_ns() - since < home.the_monitor().blocked_ns())
    a.phase.store(activity_phase::started, std::memory_order_release);
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
  if (worker* other = home.take_spare()) {
    stuck_since_ns.store(p->slice_start, std::memory_order_relaxed);
    give_processor_to(*other);
  } else {
    home.the_monitor().wake();
  }
}

void worker::give_processor_to(worker& other) noexcept {
  // The monitor may be asking for the processor right now; the compare-and-swap decides who gives it away.
  const bool ours = hand_off_.give_away(number_of(p));
  processor& given = *p;
  lose_processor();
  if (ours)
    home.hand_over(given, other);
  else
    home.add_spare(other);
}

void worker::ask_to_give_way(const processor& from) noexcept { hand_off_.ask(number_of(&from), fence_in(home)); }

bool worker::try_retake(const processor& from) noexcept {
  return hand_off_.try_retake(number_of(&from), fence_in(home));
}

void worker::expose_lifo(processor& of) noexcept {
  activity* found = nullptr;
  hand_off_.visit(number_of(&of), fence_in(home), [&] { found = of.take_lifo(); });
  if (found) home.inject(*found);
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
  stall_watch::end(*this);
  stuck_since_ns.store(0, std::memory_order_relaxed);
  hand_off_.reset(0);
  os::set_time_slice(os::thread_id(), worker_slice_ns);
  if (!home.add_spare(*this)) return;
  while (assigned_.load(std::memory_order_acquire) == 0) os::futex_wait(assigned_, 0);
  assigned_.store(0, std::memory_order_relaxed);
  p = std::exchange(given_, nullptr);
  hand_off_.reset(number_of(p));
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
  stack_top_ = __builtin_frame_address(0);
  if (home.the_monitor().stalls().sampler()) stack_sampler::let_signal_in();
  if (!p) {
    home.spare_has_started();
    wait_for_processor();
  }
  while (p) {
    activity* a = next_to_run();
    if (!a) break;
    run(*a);
    if (!p) wait_for_processor();
  }
  release_signal_stack();
  set_this_worker(nullptr);
}

}  // namespace thrum::sched
