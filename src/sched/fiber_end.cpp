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
void await_end(const fiber_control& f) noexcept {
  for (int i = 0; f.joiner.load(std::memory_order_acquire) != fiber_control::ended(); ++i)
    i < 100 ? base::cpu_relax() : os::yield_thread();  // The fiber is between announce_end() and publish_end().
}

const waiter* as_waiter(const void* fiber) noexcept {
  return static_cast<const waiter*>(static_cast<const fiber_control*>(fiber));
}

}  // namespace

void run_closure(fiber_control& f) {
  if (f.joiner.load(std::memory_order_relaxed) == fiber_control::nobody_will_join())
    run_alone(f);
  else
    run_for_joiner(f);
  if (f.locals) [[unlikely]]
    f.locals->end(f.locals);
}

waiter* announce_end(fiber_control& f) noexcept {
  waiter* who = f.joiner.exchange(fiber_control::ending(), std::memory_order_acq_rel);
  // Its handle was detached while it ran.
  if (f.failure && who == fiber_control::nobody_will_join()) die_of(f.failure);
  return who;
}

bool publish_end(fiber_control& f, waiter* joiner) noexcept {
  if (joiner == fiber_control::nobody_will_join()) return false;
  const bool resume = joiner->claim_episode(f.joiner_episode, claim_code::first_clause) == claim_result::resume;
  f.joiner.store(fiber_control::ended(), std::memory_order_release);  // Publishes the failure and all of the block.
  if (resume) ready_waiter(*joiner);
  return true;
}

bool join(fiber_control& f, std::int64_t deadline_ns, bool shielded) {
  waiting w(shielded ? cancellation::none : cancellation::point);
  if (&w.self() == &f) base::panic("a fiber joins itself");
  if (f.joiner.load(std::memory_order_acquire) == fiber_control::ended()) return true;
  f.joiner_episode = w.open();
  waiter* before = nullptr;
  // Publishes the episode to whoever ends the fiber, unless that has begun.
  if (f.joiner.compare_exchange_strong(before, &w.self(), std::memory_order_acq_rel)) {
    static constexpr wait_kind kind{"the end of a fiber", &as_waiter};
    const auto code = w.park(deadline_ns, {&kind, &f});
    before = &w.self();
    // When the fiber has ended meanwhile its end is delivered: a completion beats a cancellation.
    if (code != claim_code::first_clause &&
        f.joiner.compare_exchange_strong(before, nullptr, std::memory_order_acq_rel)) {
      w.throw_if_cancelled(code);
      return false;
    }
  }
  await_end(f);
  return true;
}

bool detach(fiber_control& f) noexcept {
  waiter* before = nullptr;
  if (f.joiner.compare_exchange_strong(before, fiber_control::nobody_will_join(), std::memory_order_acq_rel))
    return true;
  await_end(f);
  return false;
}

}  // namespace thrum::sched
