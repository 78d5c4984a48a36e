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

constexpr std::size_t shown_max = 1000;
constexpr int deadlock_status = 2;

#if defined(THRUM_TSAN)
constexpr int sanitizer_threads = 1;
#else
constexpr int sanitizer_threads = 0;
#endif

void describe_name(const activity& a) noexcept {
  if (!a.is_fiber()) return;
  if (const auto name = static_cast<const fiber_control&>(a).name.get(); name[0]) os::report(" \"%s\"", name.data());
}

const char* kind_of(const activity& a) noexcept { return a.is_fiber() ? "fiber" : "task"; }

void describe_holder(const wait_reason& reason) noexcept {
  const waiter* holder = reason.kind->holder ? reason.kind->holder(reason.object) : nullptr;
  if (!holder) return;
  if (holder->kind() == waiter_kind::thread) {
    os::report(", held by thread %d", static_cast<const thread_waiter*>(holder)->tid());
    return;
  }
  const auto& a = *static_cast<const activity*>(holder);
  os::report(", held by %s %llu", kind_of(a), static_cast<unsigned long long>(a.id));
  describe_name(a);
}

// It is parked and under inspection.
void dump_parked(const activity& a) noexcept {
  describe(a);
  os::report(" waits for %s", a.reason.kind->what);
  if (a.reason.object) os::report(" %p", a.reason.object);
  describe_holder(a.reason);
  os::report("\n");
  if (!a.is_fiber()) return;  // A task has no stack.
  context::trace t;
  context::capture(t, static_cast<const fiber_control&>(a).ctx);
  context::print(t);
}

void dump(activity& a) noexcept {
  if (a.phase.load(std::memory_order_acquire) == activity_phase::fresh) {
    describe(a);
    os::report(" has not started\n");
  } else if (a.begin_inspection()) {
    dump_parked(a);
    if (a.end_inspection() == claim_result::resume) a.home->inject(a);
  } else {
    describe(a);
    os::report(" is running or runnable\n");
  }
}

// Whether something may still be woken from outside, or is not parked at all.
bool something_may_run(scheduler& s) noexcept {
  bool may_run = false;
  s.for_each_alive([&](activity& a) {
    if (may_run) return;
    if (a.phase.load(std::memory_order_acquire) == activity_phase::fresh || !a.begin_inspection()) {
      may_run = true;
      return;
    }
    if (a.reason.kind->external) may_run = true;
    if (a.end_inspection() == claim_result::resume) a.home->inject(a);
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

void describe(const activity& a) noexcept {
  const auto where = a.where.load(std::memory_order_relaxed);
  os::report("%s %llu", kind_of(a), static_cast<unsigned long long>(a.id));
  describe_name(a);
  os::report(" (spawned at %s:%u in %s)", where.file_name(), static_cast<unsigned>(where.line()),
             where.function_name());
}

void report_overflow(const fiber_control& f) noexcept {
  os::report("thrum: fatal: stack overflow: ");
  describe(f);
  os::report(" has used up its stack of %zu KiB\n", (std::size_t{1} << f.size_class) / 1024);
  std::abort();
}

void report_uncaught(const activity& a) noexcept {
  const auto failure = std::current_exception();
  os::report("thrum: fatal: %s in ", failure ? "uncaught exception" : "std::terminate");
  describe(a);
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

void dump_all(scheduler& s) noexcept {
  std::size_t shown = 0;
  s.for_each_alive([&](activity& a) {
    if (++shown <= shown_max) dump(a);
  });
  if (shown > shown_max) os::report("... and %zu more\n", shown - shown_max);
}

bool check_deadlock(scheduler& s) noexcept {
  if (!nothing_pending(s) || other_schedulers_exist(s)) return false;
  if (!only_parked_threads(s)) return true;
  if (something_may_run(s)) return false;
  // Once more: a thread may have done its last wake-up while we looked.
  if (!nothing_pending(s) || !only_parked_threads(s)) return true;
  os::report("thrum: fatal: deadlock: all fibers wait and nothing is left that could wake them\n");
  dump_all(s);
  ::_exit(deadlock_status);
}

std::size_t report_survivors(scheduler& s, std::size_t most) noexcept {
  std::size_t count = 0;
  s.for_each_alive([&](activity& a) {
    if (++count <= most) dump(a);
  });
  return count;
}

}  // namespace thrum::sched
