// The boundary between the runtime and the fiber's function.
#include "sched/fiber_end.hpp"

#include <exception>
#include <utility>

#include <cxxabi.h>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
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

// The exchange publishes `failure`; from then on a joiner may release the fiber, though not free it: it still holds a
// reference of its own until it has left its stack.
void complete(fiber_control& f) noexcept {
  waiter* who = f.joiner.exchange(fiber_control::ended(), std::memory_order_acq_rel);
  if (who == fiber_control::nobody_will_join()) {
    if (f.failure) die_of(f.failure);  // The handle was detached while it ran.
  } else if (who && who->claim_episode(f.joiner_episode, claim_code::first_clause) == claim_result::resume) {
    make_runnable(*who);
  }
}

const waiter* as_waiter(const void* fiber) noexcept {
  return static_cast<const waiter*>(static_cast<const fiber_control*>(fiber));
}

}  // namespace

void run_closure(fiber_control& f) {
  if (f.references.load(std::memory_order_relaxed) == 1)
    run_alone(f);
  else
    run_for_joiner(f);
  complete(f);
}

bool join(fiber_control& f, std::int64_t deadline_ns, bool shielded) {
  waiting w(shielded ? cancellation::none : cancellation::point);
  if (&w.self() == &f) base::panic("a fiber joins itself");
  if (f.joiner.load(std::memory_order_acquire) == fiber_control::ended()) return true;
  w.open();
  f.joiner_episode = w.self().word();
  waiter* before = nullptr;
  // acq_rel: publishes the episode to complete(), or receives the failure from it.
  if (!f.joiner.compare_exchange_strong(before, &w.self(), std::memory_order_acq_rel)) return true;
  const auto code = w.park(deadline_ns, {"the end of a fiber", &f, &as_waiter});
  if (code == claim_code::first_clause) return true;
  before = &w.self();
  // When the fiber has ended meanwhile its end is delivered: a completion beats a cancellation.
  if (!f.joiner.compare_exchange_strong(before, nullptr, std::memory_order_acq_rel)) return true;
  w.throw_if_cancelled(code);
  return false;
}

void detach(fiber_control& f) {
  waiter* before = nullptr;
  if (f.joiner.compare_exchange_strong(before, fiber_control::nobody_will_join(), std::memory_order_acq_rel)) return;
  if (f.failure) std::rethrow_exception(std::exchange(f.failure, nullptr));
}

}  // namespace thrum::sched
