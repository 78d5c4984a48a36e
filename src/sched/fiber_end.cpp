// The boundary between the runtime and the fiber's function.
#include "sched/fiber_end.hpp"

#include <exception>
#include <utility>

#include <cxxabi.h>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "base/cpu.hpp"
#include "os/thread.hpp"
#include "sched/park.hpp"
#include "sched/wait.hpp"

namespace thrum::sched {
namespace {

[[noreturn]] void refuse_forced_unwind() noexcept {
  base::panic("pthread_exit or thread cancellation in a fiber: the thread belongs to all fibers");
}

// A forced unwinding has no C++ object: the reference by which it is caught is null, which a sanitizer would mind.
#define THRUM_MAY_CATCH_NULL __attribute__((no_sanitize("null", "alignment")))

// Nobody will ask how it ended: an exception ends the process (diagnose.hpp, report_uncaught).
THRUM_MAY_CATCH_NULL void run_alone(fiber_control& f) {
  try {
    f.run(f.closure);
  } catch (const cancelled&) {
    // A normal end.
  } catch (const abi::__forced_unwind&) {
    refuse_forced_unwind();
  }
}

THRUM_MAY_CATCH_NULL void run_for_joiner(fiber_control& f) {
  try {
    f.run(f.closure);
  } catch (const cancelled&) {
    // A normal end.
  } catch (const abi::__forced_unwind&) {
    refuse_forced_unwind();
  } catch (...) {
    f.failure = std::current_exception();
  }
}

[[noreturn]] void die_of(std::exception_ptr failure) noexcept {
  std::rethrow_exception(std::move(failure));  // Out of a noexcept function: std::terminate, which reports it.
}

// The handle's owner, who has seen that the fiber is ending or was told so: until the block is its own.
void await_end(const activity& a) noexcept {
  for (int i = 0; a.joiner.load(std::memory_order_acquire) != activity::ended(); ++i)
    i < 100 ? base::cpu_relax() : os::yield_thread();  // It is between announce_end() and publish_end().
}

const waiter* as_waiter(const void* who) noexcept { return static_cast<const waiter*>(who); }

const char* ended_already(const void* who, const waiter&) noexcept {
  return has_ended(*static_cast<const activity*>(as_waiter(who))) ? "which has come" : nullptr;
}

}  // namespace

void run_closure(fiber_control& f) {
  if (f.joiner.load(std::memory_order_relaxed) == activity::nobody_will_join())
    run_alone(f);
  else
    run_for_joiner(f);
  if (f.locals) [[unlikely]]
    f.locals->end(f.locals);
}

waiter* announce_end(fiber_control& f) noexcept {
  waiter* who = announce_end(static_cast<activity&>(f));
  // Its handle was detached while it ran.
  if (f.failure && who == activity::nobody_will_join()) die_of(f.failure);
  return who;
}

waiter* announce_end(task_control& t, const std::exception_ptr* failure) noexcept {
  waiter* who = announce_end(static_cast<activity&>(t));
  if (failure && who == activity::nobody_will_join()) die_of(*failure);
  return who;
}

waiter* announce_end(activity& a) noexcept {
  detail::touch(&a.joiner);
  return a.joiner.exchange(activity::ending(), std::memory_order_acq_rel);
}

bool publish_end_to(activity& a, waiter* joiner) noexcept {
  if (joiner == activity::nobody_will_join() || joiner == activity::dropped()) return false;
  const auto claimed = joiner->claim_episode(waiter::numbered(a.joiner_episode), claim_code::first_clause);
  a.joiner.store(activity::ended(), std::memory_order_release);  // As in publish_end().
  if (claimed == claim_result::resume) ready_waiter(*joiner);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Joining.

bool begin_join(activity& a, waiter& self, std::uint64_t episode) noexcept {
  detail::touch(&a.joiner);
  a.joiner_episode = waiter::number_of(episode);
  waiter* before = nullptr;
  // Publishes the episode to whoever ends it, unless that has begun.
  return a.joiner.compare_exchange_strong(before, &self, std::memory_order_acq_rel);
}

bool end_join(activity& a, waiter& self, claim_code code) noexcept {
  detail::touch(&a.joiner);
  waiter* before = &self;
  // When it has ended meanwhile its end is delivered: a completion beats a cancellation.
  if (code != claim_code::first_clause && a.joiner.compare_exchange_strong(before, nullptr, std::memory_order_acq_rel))
    return false;
  await_end(a);
  return true;
}

bool has_ended(const activity& a) noexcept {
  detail::touch(&a.joiner);
  return a.joiner.load(std::memory_order_acquire) == activity::ended();
}

wait_reason join_reason(const activity& a) noexcept {
  static constexpr wait_kind fibers{.what = "the end of a fiber", .holder = &as_waiter, .could_go_on = &ended_already};
  static constexpr wait_kind tasks{.what = "the end of a task", .holder = &as_waiter, .could_go_on = &ended_already};
  return {a.is_fiber() ? &fibers : &tasks, static_cast<const waiter*>(&a)};
}

bool join(activity& a, std::int64_t deadline_ns, bool shielded) {
  claim_code code;
  {
    waiting w(shielded ? cancellation::none : cancellation::point);
    if (&w.self() == &a) base::panic("a fiber joins itself");
    if (has_ended(a)) return true;
    if (!begin_join(a, w.self(), w.open())) {
      await_end(a);
      return true;
    }
    code = w.park(deadline_ns, join_reason(a));
    if (end_join(a, w.self(), code)) return true;
  }
  throw_if_cancelled(code);
  return false;
}

namespace {

bool leave_alone(activity& a, waiter* mark) noexcept {
  detail::touch(&a.joiner);
  waiter* before = nullptr;
  if (a.joiner.compare_exchange_strong(before, mark, std::memory_order_acq_rel)) return true;
  await_end(a);
  return false;
}

}  // namespace

bool detach(activity& a) noexcept { return leave_alone(a, activity::nobody_will_join()); }
bool drop(activity& a) noexcept { return leave_alone(a, activity::dropped()); }

}  // namespace thrum::sched
