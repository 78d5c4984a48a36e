// The pool's threads and their queue.
#include "blocking/pool.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "blocking/call_ring.hpp"
#include "os/clock.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/diagnose.hpp"
#include "sched/park.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/wait.hpp"

namespace thrum::detail {
namespace {

constexpr std::int64_t patience_ns = 5'000'000'000;  // Of an idle thread.

constexpr sched::wait_kind awaited_work{"a call to make", nullptr, true};

constinit offload_pool pool_of_the_process;
constinit offload_pool pool_without_a_queue("thrum-waiting", 4096, 0, true);

void end_threads_of_the_process() noexcept {
  the_call_ring().end_thread();  // It may leave its calls to the pool.
  pool_of_the_process.end_threads();
  pool_without_a_queue.end_threads();
}

}  // namespace

offload_pool& the_offload_pool() noexcept { return pool_of_the_process; }
offload_pool& the_waiting_pool() noexcept { return pool_without_a_queue; }

void end_threads_with_the_last_runtime() noexcept { sched::after_last_scheduler(&end_threads_of_the_process); }

void finish(offloaded& call) noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(call.finished.lock);
    call.done = true;
    claim_all(call.finished.waiters, batch);
  }
  sched::make_runnable(batch);
}

bool offload_pool::in_use() noexcept {
  std::lock_guard held(idle_.lock);
  return queued_ > 0 || running_ > 0;
}

bool offload_pool::submit(offloaded& call) noexcept {
  return (call.request && the_call_ring().submit(*call.request)) || submit_to_threads(call);
}

bool offload_pool::submit_to_threads(offloaded& call) noexcept {
  sched::claimed_waiter woken;
  bool start = false;
  {
    std::lock_guard held(idle_.lock);
    if (must_refuse()) {
      ++refused_;
      return false;
    }
    ending_ = false;
    call.queued = true;
    call.previous = std::exchange(last_, &call);
    (call.previous ? call.previous->next : first_) = &call;
    ++queued_;
    woken = sched::claim_front(idle_.waiters);
    start = !woken.who && threads_ < threads_max_;
    if (start) ++threads_;
  }
  sched::finish_wake(woken);
  if (start) start_thread();
  return true;
}

// Under the lock. Calls for which a thread is free, or may be started, do not wait: they are on their way.
bool offload_pool::must_refuse() const noexcept {
  const auto free = std::max(threads_, threads_max_) - running_;
  return queued_ >= free && queued_ - free >= queue_max_;
}

// Under the lock.
void offload_pool::unlink(offloaded& call) noexcept {
  (call.previous ? call.previous->next : first_) = call.next;
  (call.next ? call.next->previous : last_) = call.previous;
  call.queued = false;
  --queued_;
}

bool offload_pool::withdraw(offloaded& call) noexcept {
  if (call.request && the_call_ring().withdraw(*call.request)) return true;
  std::lock_guard held(idle_.lock);
  if (!call.queued) return false;
  unlink(call);
  ++withdrawn_;
  return true;
}

// Under the lock.
offloaded* offload_pool::take_first() noexcept {
  offloaded* call = first_;
  if (call) unlink(*call);
  return call;
}

// ---------------------------------------------------------------------------------------------------------------
// Threads.

// One more is counted already.
void offload_pool::start_thread() noexcept {
  if (is_process_s_) end_threads_with_the_last_runtime();
  pthread_t thread;
  if (os::start_thread(thread, &thread_main, this) != 0) thread_has_not_started();
}

// The others, if there are any, will do. If there are none, nobody else would tell those who wait.
void offload_pool::thread_has_not_started() noexcept {
  offloaded* abandoned = nullptr;
  {
    std::lock_guard held(idle_.lock);
    if (--threads_ > 0) return;
    while (offloaded* call = take_first()) {
      call->failed = true;
      call->next = std::exchange(abandoned, call);
    }
  }
  while (abandoned) finish(*std::exchange(abandoned, abandoned->next));
}

void* offload_pool::thread_main(void* pool) noexcept {
  auto& self = *static_cast<offload_pool*>(pool);
  os::name_thread(self.name_);
  sched::thread_waiter::declare_inert(true);
  predecessor before;
  while (offloaded* call = self.next(before)) self.run(*call);
  sched::thread_waiter::declare_inert(false);
  if (before.any) os::join_thread(before.thread);
  return nullptr;
}

// Null: this thread is to end, when it has joined its predecessor.
offloaded* offload_pool::next(predecessor& before) noexcept {
  for (bool patient = true;;) {
    sched::waiting w(sched::cancellation::none);
    sched::wait_node node(w);
    {
      std::lock_guard held(idle_.lock);
      if (!is_surplus()) {
        if (offloaded* call = take_first()) {
          ++running_;
          return call;
        }
      }
      if (is_surplus() || ending_ || !patient) {
        retire(before);
        return nullptr;
      }
      w.open();
      push_front(idle_.waiters, node);
    }
    patient = w.park(os::now_ns() + patience_ns, {&awaited_work}) != sched::claim_code::timed_out;
    sched::withdraw(idle_, node);
  }
}

// Under the lock.
void offload_pool::retire(predecessor& before) noexcept {
  before = std::exchange(ended_, {::pthread_self(), true});
  --threads_;
  ends_.fetch_add(1, std::memory_order_release);  // Pairs with end_threads().
  os::futex_wake(ends_, 1);
}

void offload_pool::run(offloaded& call) noexcept {
  call.run(call);
  {
    std::lock_guard held(idle_.lock);
    --running_;
    ++completed_;
  }
  finish(call);
}

void offload_pool::end_threads() noexcept {
  predecessor last;
  {
    sched::runnable_batch none;  // Threads are woken at once.
    std::lock_guard held(idle_.lock);
    ending_ = true;
    claim_all(idle_.waiters, none);
  }
  for (;;) {
    const auto seen = ends_.load(std::memory_order_acquire);  // Pairs with retire().
    {
      std::lock_guard held(idle_.lock);
      if (!ending_) return;  // Another runtime has begun, and uses them.
      if (threads_ == 0) {
        last = std::exchange(ended_, {});
        break;
      }
    }
    os::futex_wait(ends_, seen);
  }
  if (last.any) os::join_thread(last.thread);
}

// ---------------------------------------------------------------------------------------------------------------

void offload_pool::set_threads_max(std::size_t threads) noexcept {
  std::size_t start = 0;
  {
    sched::runnable_batch none;  // As above: who is too many ends, the others go idle again.
    std::lock_guard held(idle_.lock);
    threads_max_ = std::max<std::size_t>(threads, 1);
    if (is_surplus()) claim_all(idle_.waiters, none);
    if (threads_ < threads_max_) start = std::min(queued_, threads_max_ - threads_);
    threads_ += start;
  }
  for (; start > 0; --start) start_thread();
}

blocking_statistics offload_pool::statistics() noexcept {
  std::lock_guard held(idle_.lock);
  return {.threads = threads_,
          .threads_max = threads_max_,
          .running = running_,
          .queued = queued_,
          .completed = completed_,
          .withdrawn = withdrawn_,
          .refused = refused_};
}

}  // namespace thrum::detail
