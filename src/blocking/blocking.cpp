// Waiting for an offloaded call: fibers here in one function, tasks in steps.
//
// A call is waited for in two parts. While it may be queued the wait is cancellable; who is cancelled takes the call
// out of the queue or, where a thread has it already, waits once more, without cancellation, for the end that is to
// come.
#include <thrum/blocking.hpp>

#include <mutex>
#include <system_error>

#include <thrum/cancelled.hpp>
#include <thrum/task_blocking.hpp>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "blocking/call_ring.hpp"
#include "blocking/pool.hpp"
#include "os/cpus.hpp"
#include "sched/scheduler.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace detail {
namespace {

// Its end comes from a thread outside the runtime: nobody who waits for it is deadlocked.
constexpr sched::wait_kind awaited_call{"an offloaded call", nullptr, true};

// A simulation has one thread, and decides everything by itself. Null: there is none.
sched::runtime_host* simulation() noexcept {
  auto* w = sched::this_worker();
  return w ? w->home.host() : nullptr;
}

bool wait_for(offloaded& call, sched::cancellation c) noexcept {
  return sched::wait_until(
      call.finished, [&] { return call.done; }, sched::never, {&awaited_call}, c);
}

void run_offloaded(void* call) noexcept {
  auto& c = *static_cast<offloaded*>(call);
  c.run(c);
}

void run_in_place(offloaded& call, sched::runtime_host* host) noexcept {
  if (host)
    host->call_outside(&run_offloaded, &call);
  else
    run_offloaded(&call);
  call.done = true;
}

// The thread that has made the call may still hold the lock: waits for it.
offload_end outcome_of(offloaded& call) noexcept {
  std::lock_guard held(call.finished.lock);
  return call.failed ? offload_end::no_thread : offload_end::done;
}

}  // namespace

offload_end offload(offload_pool& pool, offloaded& call) noexcept {
  const auto begun = sched::begin_call();
  if (begun.cancelled) return offload_end::cancelled;
  auto* const host = simulation();
  if (begun.who->kind() == sched::waiter_kind::thread || host) {
    run_in_place(call, host);
    return offload_end::done;
  }
  if (!pool.submit(call)) return offload_end::no_room;
  if (!wait_for(call, sched::cancellation::reported)) {
    if (pool.withdraw(call)) return offload_end::cancelled;
    wait_for(call, sched::cancellation::none);
  }
  return outcome_of(call);
}

void check_offload(offload_end how) {
  if (how == offload_end::cancelled) throw cancelled{};
  if (how == offload_end::no_thread)
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                            "thrum: no thread for an offloaded call");
  if (how == offload_end::no_room)
    throw std::system_error(std::make_error_code(std::errc::no_buffer_space),
                            "thrum: too many calls wait for a thread of the pool");
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks.

bool begin_offload(offload_pool& pool, offloaded& call, async_wait& w, offload_end& refused) {
  const auto& t = sched::begin_task_call(sched::cancellation::reported);
  if (t.cancel_pending.load(std::memory_order_acquire)) {
    refused = offload_end::cancelled;
    return sched::go_on();
  }
  if (auto* const host = simulation()) {
    run_in_place(call, host);
    return sched::go_on();
  }
  if (!pool.submit(call)) {
    refused = offload_end::no_room;
    return sched::go_on();
  }
  return sched::begin_wait(
      w, nullptr, call.finished, [&] { return call.done; }, sched::never, {&awaited_call},
      sched::cancellation::reported);
}

bool begin_waiting_for_offloaded(offloaded& call, async_wait& w) {
  return sched::begin_wait(
      w, nullptr, call.finished, [&] { return call.done; }, sched::never, {&awaited_call}, sched::cancellation::none);
}

offload_end end_offload(offload_pool& pool, offloaded& call, async_wait& w) noexcept {
  if (w.at == async_wait::state::waiting && sched::end_parking(nullptr) != sched::claim_code::first_clause) {
    sched::withdraw(*w.queue, sched::node_in(w.node));
    return pool.withdraw(call) ? offload_end::cancelled : offload_end::still_runs;
  }
  return outcome_of(call);
}

}  // namespace detail

blocking_pool::blocking_pool(const blocking_pool_options& o)
    : pool_(std::make_unique<detail::offload_pool>(o.name, o.threads_max ? o.threads_max : os::available_cpus(),
                                                   o.queue_max)) {}

blocking_pool::~blocking_pool() {
  base::refuse_after_fork();
  if (pool_->in_use()) base::panic("a blocking_pool ends while calls are under way");
  pool_->end_threads();
}

blocking_statistics blocking_pool::stats() const noexcept { return pool_->statistics(); }
void blocking_pool::set_threads_max(std::size_t threads) noexcept { pool_->set_threads_max(threads); }

blocking_statistics blocking_stats() noexcept {
  auto all = detail::the_offload_pool().statistics();
  detail::the_call_ring().add_to(all);
  return all;
}
void set_blocking_threads_max(std::size_t threads) noexcept { detail::the_offload_pool().set_threads_max(threads); }

}  // namespace thrum
