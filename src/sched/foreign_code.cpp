// The calling fiber as interposed calls see it.
#include "sched/foreign_code.hpp"

#include "sched/scheduler.hpp"
#include "sched/wait.hpp"

namespace thrum::sched {
namespace {

constexpr wait_kind awaited_time{"a sleep to end"};

}  // namespace

// The runtime's own calls come with in_runtime() set, or where no fiber is.
const scheduler* home_of_calling_fiber() noexcept {
  const worker* w = this_worker();
  if (!w || !w->current() || w->in_runtime() || w->home.host()) return nullptr;
  return &w->home;
}

fd_watch::outcome wait_for_edge(fd_watch& watch, std::int64_t deadline_ns) noexcept {
  return watch.wait(begin_call(), fd_watch::reading, deadline_ns, watch.generation());
}

bool sleep_reporting(std::int64_t deadline_ns) noexcept {
  waiting w(cancellation::reported);
  if (w.already_cancelled()) return false;
  w.open();
  return w.park(deadline_ns, {&awaited_time}) != claim_code::cancelled;
}

}  // namespace thrum::sched
