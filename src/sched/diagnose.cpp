// What is printed about fibers, and the proof that nothing can run any more.
#include "sched/diagnose.hpp"

#include <atomic>
#include <cstdlib>
#include <exception>

#include <unistd.h>

#include "base/assert.hpp"
#include "context/unwind.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t stacks_shown_max = 1000;
constexpr int deadlock_status = 2;

#if defined(THRUM_TSAN)
constexpr int sanitizer_threads = 1;
#else
constexpr int sanitizer_threads = 0;
#endif

void describe_name(const fiber_control& f) noexcept {
  if (const auto name = f.name.get(); name[0]) os::report(" \"%s\"", name.data());
}

void describe_holder(const wait_reason& reason) noexcept {
  const waiter* holder = reason.kind->holder ? reason.kind->holder(reason.object) : nullptr;
  if (!holder) return;
  if (holder->kind() == waiter_kind::thread) {
    os::report(", held by thread %d", static_cast<const thread_waiter*>(holder)->tid());
    return;
  }
  const auto& f = *static_cast<const fiber_control*>(holder);
  os::report(", held by fiber %llu", static_cast<unsigned long long>(f.id));
  describe_name(f);
}

// The fiber is parked and under inspection.
void dump_parked(const fiber_control& f, bool with_stack) noexcept {
  describe(f);
  os::report(" waits for %s", f.reason.kind->what);
  if (f.reason.object) os::report(" %p", f.reason.object);
  describe_holder(f.reason);
  os::report("\n");
  if (!with_stack) return;
  context::trace t;
  context::capture(t, f.ctx);
  context::print(t);
}

void dump_fiber(fiber_control& f, bool with_stack) noexcept {
  const auto phase = f.phase.load(std::memory_order_acquire);
  if (phase == fiber_phase::free || phase == fiber_phase::done) return;
  if (phase == fiber_phase::fresh) {
    describe(f);
    os::report(" has not started\n");
  } else if (f.begin_inspection()) {
    dump_parked(f, with_stack);
    if (f.end_inspection() == claim_result::resume) f.home->inject(f);
  } else {
    describe(f);
    os::report(" is running or runnable\n");
  }
}

// Whether some fiber may still be woken from outside, or is not parked at all.
bool some_fiber_may_run(scheduler& s) noexcept {
  bool may_run = false;
  s.fibers().for_each([&](fiber_control& f) {
    const auto phase = f.phase.load(std::memory_order_acquire);
    if (phase == fiber_phase::fresh) may_run = true;
    if (phase != fiber_phase::started || may_run) return;
    if (!f.begin_inspection()) {
      may_run = true;
      return;
    }
    if (f.reason.kind->external) may_run = true;
    if (f.end_inspection() == claim_result::resume) f.home->inject(f);
  });
  return may_run;
}

bool nothing_pending(scheduler& s) noexcept {
  if (!s.all_idle() || s.global_size() > 0 || s.quiescent()) return false;
  for (unsigned i = 0; i < s.processor_count(); ++i)
    if (s.processor_at(i).timers.count() > 0 || s.processor_at(i).has_runnable()) return false;
  // A thread that runs user code without a processor is neither an owner nor a spare.
  return s.workers_total() == s.processor_count() + s.spares();
}

bool only_parked_threads(scheduler& s) noexcept {
  const int ours = static_cast<int>(s.workers_total()) + 1;  // And the monitor.
  return os::thread_count() ==
         ours + thread_waiter::parked_threads() + thread_waiter::inert_threads() + sanitizer_threads;
}

}  // namespace

void describe(const fiber_control& f) noexcept {
  const auto where = f.where.load(std::memory_order_relaxed);
  os::report("fiber %llu", static_cast<unsigned long long>(f.id));
  describe_name(f);
  os::report(" (spawned at %s:%u in %s)", where.file_name(), static_cast<unsigned>(where.line()),
             where.function_name());
}

void report_overflow(const fiber_control& f) noexcept {
  os::report("thrum: fatal: stack overflow: ");
  describe(f);
  os::report(" has used up its stack of %zu KiB\n", (std::size_t{1} << f.size_class) / 1024);
  std::abort();
}

void report_uncaught(const fiber_control& f) noexcept {
  const auto failure = std::current_exception();
  os::report("thrum: fatal: %s in ", failure ? "uncaught exception" : "std::terminate");
  describe(f);
  try {
    if (failure) std::rethrow_exception(failure);
    os::report("\n");
  } catch (const std::exception& e) {
    os::report(": %s\n", e.what());
  } catch (...) {
    os::report("\n");
  }
  context::trace t;
  context::capture(t);
  context::print(t);
}

void dump_fibers(scheduler& s) noexcept {
  std::size_t shown = 0;
  s.fibers().for_each([&](fiber_control& f) {
    const auto phase = f.phase.load(std::memory_order_relaxed);
    if (phase == fiber_phase::free || phase == fiber_phase::done) return;
    if (++shown <= stacks_shown_max) dump_fiber(f, true);
  });
  if (shown > stacks_shown_max) os::report("... and %zu more fibers\n", shown - stacks_shown_max);
}

bool check_deadlock(scheduler& s) noexcept {
  if (!nothing_pending(s) || other_schedulers_exist(s)) return false;
  if (!only_parked_threads(s)) return true;
  if (some_fiber_may_run(s)) return false;
  // Once more: a thread may have done its last wake-up while we looked.
  if (!nothing_pending(s) || !only_parked_threads(s)) return true;
  os::report("thrum: fatal: deadlock: all fibers wait and nothing is left that could wake them\n");
  dump_fibers(s);
  ::_exit(deadlock_status);
}

std::size_t report_survivors(scheduler& s, std::size_t most) noexcept {
  std::size_t count = 0;
  s.fibers().for_each([&](fiber_control& f) {
    const auto phase = f.phase.load(std::memory_order_acquire);
    if (phase == fiber_phase::free || phase == fiber_phase::done) return;
    if (++count <= most) dump_fiber(f, true);
  });
  return count;
}

}  // namespace thrum::sched
