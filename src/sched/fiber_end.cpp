// The boundary between the runtime and the fiber's function.
#include "sched/fiber_end.hpp"

#include <exception>
#include <mutex>

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

// Nobody will ask how it ended: an exception ends the process (diagnose.hpp, report_uncaught).
// A forced unwinding has no C++ object: the reference by which it is caught is null, which a sanitizer would mind.
[[gnu::no_sanitize("null")]] void run_alone(fiber_control& f) {
  try {
    f.run(f.closure);
  } catch (const cancelled&) {
    // A normal end.
  } catch (const abi::__forced_unwind&) {
    refuse_forced_unwind();
  }
}

// False: the handle was let go in the meantime, so that nobody will receive the exception.
bool keep_failure(fiber_control& f) noexcept {
  std::lock_guard held(f.join.lock);  // Pairs with fiber::detach().
  if (!f.detached) f.failure = std::current_exception();
  return !f.detached;
}

[[gnu::no_sanitize("null")]] void run_for_joiner(fiber_control& f) {
  try {
    f.run(f.closure);
  } catch (const cancelled&) {
    // A normal end.
  } catch (const abi::__forced_unwind&) {
    refuse_forced_unwind();
  } catch (...) {
    if (!keep_failure(f)) std::terminate();
  }
}

void complete(fiber_control& f) noexcept {
  runnable_batch joiners;
  {
    std::lock_guard held(f.join.lock);
    f.finished = true;
    claim_all(f.join.waiters, joiners);
  }
  make_runnable(joiners);
}

}  // namespace

void run_closure(fiber_control& f) {
  if (f.references.load(std::memory_order_relaxed) == 1) run_alone(f);
  else run_for_joiner(f);
  complete(f);
}

bool join(fiber_control& f, std::int64_t deadline_ns, bool shielded) {
  waiting w(shielded ? cancellation::none : cancellation::point);
  if (&w.self() == &f) base::panic("a fiber joins itself");
  f.join.lock.lock();
  if (f.finished) {
    f.join.lock.unlock();
    return true;
  }
  wait_node node(w);
  w.open();
  push_back(f.join.waiters, node);
  f.join.lock.unlock();
  const auto code = w.park(deadline_ns, {"the end of a fiber", &f, [](const void* object) noexcept {
                                           return static_cast<const waiter*>(static_cast<const fiber_control*>(object));
                                         }});
  if (code == claim_code::first_clause) return true;
  withdraw(f.join, node);
  w.throw_if_cancelled(code);
  return false;
}

}  // namespace thrum::sched
