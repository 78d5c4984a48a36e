// What is printed about fibers, and the proof that nothing can run any more.
#include "sched/diagnose.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <unistd.h>

#include "base/assert.hpp"
#include "context/unwind.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "sched/inspection.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/wait_graph.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t shown_max = 1000;
constexpr std::size_t stuck_shown_max = 8;
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
  describe(a, labels::shown);
  os::report(" waits for %s", a.reason.kind->what);
  if (const void* object = a.reason.shown()) os::report(" %p", object);
  describe_holder(a.reason);
  os::report("\n");
  if (!a.is_fiber()) return;  // A task has no stack.
  context::trace t;
  context::capture(t, static_cast<const fiber_control&>(a).ctx);
  context::print(t);
}

void dump(activity& a) noexcept {
  if (a.phase.load(std::memory_order_acquire) == activity_phase::fresh) {
    describe(a, labels::left_out);
    os::report(" has not started\n");
  } else if (const inspection held(a); held) {
    dump_parked(a);
  } else {
    describe(a, labels::left_out);
    os::report(" is running or runnable\n");
  }
}

// Whether something may still be woken from outside, or is not parked at all.
bool something_may_run(scheduler& s) noexcept {
  bool may_run = false;
  s.for_each_alive([&](activity& a) {
    if (may_run) return;
    const inspection held(a);
    may_run = a.phase.load(std::memory_order_acquire) == activity_phase::fresh || !held || a.reason.kind->external;
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

bool are_all_threads(scheduler& s, const thread_waiter::census& c) noexcept {
  const int ours = static_cast<int>(s.workers_total()) + 1;  // And the monitor.
  return os::thread_count() == ours + c.waiting + thread_waiter::inert_threads() + sanitizer_threads;
}

}  // namespace

void describe(const activity& a, labels shown) noexcept {
  const auto where = a.where.load(std::memory_order_relaxed);
  os::report("%s %llu", kind_of(a), static_cast<unsigned long long>(a.id));
  describe_name(a);
  if (shown == labels::shown && a.locals) a.locals->describe(*a.locals);
  os::report(" (spawned at %s:%u in %s)", where.file_name(), static_cast<unsigned>(where.line()),
             where.function_name());
  if (!a.is_fiber()) return;
  if (const worker* w = static_cast<const fiber_control&>(a).pinned_to.load(std::memory_order_relaxed))
    os::report(", pinned to thread %d,", w->tid.load(std::memory_order_relaxed));
}

void report_overflow(const fiber_control& f) noexcept {
  os::report("thrum: fatal: stack overflow: ");
  describe(f, labels::shown);
  os::report(" has used up its stack of %zu KiB\n", (std::size_t{1} << f.size_class) / 1024);
  std::abort();
}

void report_uncaught(const activity& a) noexcept {
  const auto failure = std::current_exception();
  os::report("thrum: fatal: %s in ", failure ? "uncaught exception" : "std::terminate");
  describe(a, labels::shown);
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
  if (const auto engine = s.describe_poller(); !engine.empty())
    os::report("descriptors are waited for by %.*s\n", static_cast<int>(engine.size()), engine.data());
  os::report("%zu threads of at most %u, %zu of them spare\n", s.workers_total(), s.threads_max(), s.spares());
  report_stuck_threads(s);
  s.the_monitor().stalls().report_open();
  std::size_t shown = 0;
  s.for_each_alive([&](activity& a) {
    if (++shown <= shown_max) dump(a);
  });
  if (shown > shown_max) os::report("... and %zu more\n", shown - shown_max);
}

void report_stuck_threads(scheduler& s) noexcept {
  std::array<stuck_thread, stuck_shown_max> longest;
  const auto found = s.find_stuck(longest);
  const auto now = s.now();
  for (std::size_t i = 0; i < std::min(found, longest.size()); ++i) {
    const auto& t = longest[i];
    os::report("    for %lld ms thread %d has been held by ", static_cast<long long>((now - t.since_ns) / 1'000'000),
               t.who->tid.load(std::memory_order_relaxed));
    describe(*t.runs, labels::left_out);
    os::report("\n");
  }
  if (found > longest.size()) os::report("    ... and %zu more\n", found - longest.size());
}

void report_findings(scheduler& s) noexcept {
  try {
    for (const auto& f : wait_graph(s).prove()) {
      const std::string text = to_string(f);
      for (std::size_t from = 0, to; from < text.size(); from = to + 1) {
        to = text.find('\n', from);
        os::report("%.*s\n", static_cast<int>(to - from), text.data() + from);
      }
    }
  } catch (const std::bad_alloc&) {  // The list of all fibers must do.
  }
}

bool check_deadlock(scheduler& s) noexcept {
  if (!nothing_pending(s) || other_schedulers_exist(s)) return false;
  const auto waiting = thread_waiter::take_census();
  if (!are_all_threads(s, waiting)) return true;
  if (something_may_run(s)) return false;
  // Once more: a thread may have done its last wake-up while we looked.
  if (!nothing_pending(s) || thread_waiter::take_census() != waiting || !are_all_threads(s, waiting)) return true;
  os::report("thrum: fatal: deadlock: all fibers wait and nothing is left that could wake them\n");
  report_findings(s);
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
