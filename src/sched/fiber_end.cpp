// The boundary between the runtime and the fiber's function.
#include "sched/fiber_end.hpp"

#include <mutex>

#include <cxxabi.h>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "sched/diagnose.hpp"
#include "sched/park.hpp"
#include "sched/wait.hpp"

namespace thrum::sched {
namespace {

// An exception nobody can receive: as for std::thread, the process ends, after a report.
[[noreturn]] void die_of_exception(const fiber_control& f) noexcept {
  report_uncaught(f);
  std::terminate();
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

void run_closure(fiber_control& f) noexcept {
  try {
    f.run(f.closure);
  } catch (const cancelled&) {
    // A normal end.
  } catch (const abi::__forced_unwind&) {
    base::panic("pthread_exit or thread cancellation in a fiber: the thread belongs to all fibers");
  } catch (...) {
    if (f.detached) die_of_exception(f);
    f.failure = std::current_exception();
  }
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
