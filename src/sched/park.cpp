// Resuming claimed waiters: fibers through their scheduler, plain threads through the futex on their word.
#include "sched/park.hpp"

#include "os/futex.hpp"
#include "sched/activity.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::sched {
namespace {

bool collect(waiter& w, claim_result r, runnable_batch& out) noexcept {
  if (r == claim_result::resume) {
    if (w.kind() == waiter_kind::thread)
      static_cast<thread_waiter&>(w).resume();
    else
      out.push(static_cast<activity*>(&w));
  }
  return r != claim_result::too_late;
}

}  // namespace

bool wake(waiter& w, claim_code code) noexcept {
  const auto r = w.claim(code);
  if (r == claim_result::resume) make_runnable(w);
  return r != claim_result::too_late;
}

bool claim_waiter(waiter& w, claim_code code, runnable_batch& out) noexcept { return collect(w, w.claim(code), out); }

bool claim_waiter_episode(waiter& w, std::uint64_t episode, claim_code code, runnable_batch& out) noexcept {
  return collect(w, w.claim_episode(episode, code), out);
}

void ready_waiter(waiter& w) noexcept {
  if (w.kind() == waiter_kind::thread) return static_cast<thread_waiter&>(w).resume();
  auto& a = static_cast<activity&>(w);
  a.home->ready(a);
}

void make_runnable(waiter& w) noexcept {
  if (w.kind() == waiter_kind::thread) return static_cast<thread_waiter&>(w).resume();
  auto& a = static_cast<activity&>(w);
  runtime_section inside;
  a.home->ready(a);
}

// Fibers of several runtimes may have waited for the same thing.
void make_runnable(runnable_batch& batch) noexcept {
  runtime_section inside;
  while (!batch.empty()) {
    scheduler& home = *batch.first->home;
    runnable_batch here, elsewhere;
    for (activity* f = batch.first; f;) {
      activity* following = f->next;
      (f->home == &home ? here : elsewhere).push(f);
      f = following;
    }
    home.ready(here);
    batch = elsewhere;
  }
}

}  // namespace thrum::sched
