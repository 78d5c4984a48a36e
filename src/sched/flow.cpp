// The flow of runnable fibers: pushing, picking, stealing, sleeping, waking. Part of the scheduler (scheduler.hpp),
// which explains the policy; idle_set.hpp explains the race between sleeping and waking.
#include <algorithm>
#include <mutex>
#include <utility>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "sched/park.hpp"
#include "sched/scheduler.hpp"

namespace thrum::sched {
namespace {

constexpr std::uint32_t global_batch = 128;
constexpr std::uint32_t crowd_queued = 32;
constexpr std::int64_t crowd_living = 256;
// With runnable fibers at hand the poller is looked at so often; with more of them, behind whom those that it tells of
// would only wait, rarely: events that are served soon after they were fetched find the kernel's data in the cache.
constexpr std::int64_t poll_interval_ns = 100'000;
constexpr std::uint32_t busy_queued = 16;
constexpr std::int64_t poll_interval_busy_ns = 1'000'000;

}  // namespace

void runnable_batch::push(activity* f) noexcept {
  f->next = nullptr;
  if (last)
    last->next = f;
  else
    first = f;
  last = f;
  ++count;
}

void runnable_batch::append(const runnable_batch& more) noexcept {
  if (more.empty()) return;
  if (last)
    last->next = more.first;
  else
    first = more.first;
  last = more.last;
  count += more.count;
}

// ---------------------------------------------------------------------------------------------------------------
// Pushing.

// While fibers wait in the global queue, others that come in a batch queue behind them: otherwise those who are served
// often would go on overtaking those who are not.
void scheduler::ready(runnable_batch& batch) noexcept {
  processor* p = local_processor(this_worker());
  if (p && global_size() == 0) {
    while (activity* f = batch.first) {
      activity* following = f->next;  // Once pushed, it may be stolen and be linked elsewhere.
      if (!p->queue.push(f)) break;
      batch.first = following;
      --batch.count;
    }
    if (p->shared) notify(*p);
  }
  if (!batch.empty()) inject(batch);
  batch = {};
}

[[gnu::noinline]] void scheduler::inject(activity& f) noexcept {
  runnable_batch one;
  one.push(&f);
  inject(one);
}

// A thread that is not ours may find that what it has made runnable ran, and that the runtime is about to go, before it
// has returned from here: shut_down() waits for it.
void scheduler::inject(const runnable_batch& batch) noexcept {
  base::refuse_after_fork();
  const worker* w = this_worker();
  const bool visitor = !w || &w->home != this;
  // Relaxed: whoever takes the fibers out of the queue, and so the runtime's end, sees it through the queue's lock.
  if (visitor) visitors_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard held(global_lock_);
    global_.append(batch);
    global_count_.store(global_.count, std::memory_order_release);
  }
  wake_idle();
  if (visitor) visitors_.fetch_sub(1, std::memory_order_release);  // Pairs with shut_down().
}

// One runnable fiber is for the worker itself; from the second on there is work for others.
void scheduler::notify(processor& p) noexcept {
  if (p.queued() + (p.lifo.load(std::memory_order_relaxed) ? 1 : 0) >= 2) wake_idle();
}

void scheduler::wake_idle() noexcept {
  idle_.wake_one([this](unsigned i) { processors_[i]->poll->wake(); });
}

// ---------------------------------------------------------------------------------------------------------------
// Finding.

activity* scheduler::find_work(worker& w) noexcept {
  processor& p = *w.p;
  bool searching = false;
  activity* f = nullptr;
  while (!stopping()) {
    THRUM_ASSERT(w.owns_its_processor());
    runnable_batch due;
    const auto time = now();
    const bool global_first = p.look_is_due();
    p.looked();
    p.crowded = p.queue.size() >= crowd_queued && p.live_here() >= crowd_living;
    serve(p, time, p.has_runnable(), due);
    ready(due);
    if ((f = take_mail(w)) || (f = next_local(p, global_first))) break;
    if (p.shared && !searching) {
      idle_.begin_search();
      searching = true;
    }
    if ((f = steal(p))) break;
    serve_neglected(p, time, due);
    ready(due);
    if ((f = next_local(p, false))) break;
    if (searching) idle_.end_search();
    searching = sleep(w, time);
  }
  // Where one fiber was found there may be more, and nobody else was woken while we searched.
  if (searching && idle_.end_search() && f) wake_idle();
  return f;
}

activity* scheduler::next_local(processor& p, bool global_first) noexcept {
  if (p.policy) return ask_policy(p);
  if (global_first)
    if (auto* f = take_global(p)) return f;
  if (auto* f = p.pick_in_order()) return f;
  return global_first ? nullptr : take_global(p);
}

activity* scheduler::ask_policy(processor& p) noexcept {
  runnable_batch found;
  {
    std::lock_guard held(global_lock_);
    found = std::exchange(global_, {});
    global_count_.store(0, std::memory_order_release);
  }
  while (auto* f = p.queue.pop()) found.push(f);
  while (auto* f = p.fresh.pop()) found.push(f);
  p.fresh_at_most = 0;
  if (auto* f = p.take_lifo()) found.push(f);
  return p.policy->pick(found);
}

void scheduler::serve(processor& p, std::int64_t time, bool poll, runnable_batch& out) noexcept {
  p.timers.fire_due(time, out);
  const auto interval = p.queued() < busy_queued ? poll_interval_ns : poll_interval_busy_ns;
  const bool look = time - p.served_at.load(std::memory_order_relaxed) > interval;
  if (look && poll) look_at_poller(p, time, out);
  if (look) p.served_at.store(time, std::memory_order_relaxed);
}

void scheduler::look_at_poller(processor& p, std::int64_t time, runnable_batch& out) noexcept {
  if (!p.polling.try_lock()) return;
  p.poll->wait(0, time, out);
  p.polling.unlock();
}

activity* scheduler::take_global(processor& p) noexcept {
  if (global_count_.load(std::memory_order_acquire) == 0) return nullptr;
  activity* first;
  activity* rest;
  std::size_t n;
  {
    std::lock_guard held(global_lock_);
    if (!global_.first) return nullptr;
    n = std::min<std::size_t>(global_.count / processors_.size() + 1, global_batch);
    n = std::min<std::size_t>({n, global_.count, p.queue.room() + 1});
    first = global_.first;
    activity* last = first;
    for (std::size_t i = 1; i < n; ++i) last = last->next;
    global_.first = last->next;
    if (!global_.first) global_.last = nullptr;
    global_.count -= n;
    global_count_.store(global_.count, std::memory_order_release);
    rest = n > 1 ? first->next : nullptr;
  }
  for (std::size_t i = 1; i < n; ++i) {
    activity* following = i + 1 < n ? rest->next : nullptr;
    push_tail(p, *rest);
    rest = following;
  }
  return first;
}

activity* scheduler::steal(processor& p) noexcept {
  const auto n = processor_count();
  if (n == 1) return nullptr;
  const auto start = static_cast<unsigned>(p.random->next() % n);
  for (unsigned i = 0; i < n; ++i) {
    processor& victim = *processors_[(start + i) % n];
    if (&victim == &p) continue;
    if (auto* f = victim.queue.steal_into(p.queue)) return f;
    if (auto* f = victim.fresh.steal_into(p.fresh)) {
      p.fresh_at_most = p.fresh.size();
      return f;
    }
  }
  return nullptr;
}

// A worker that computes for long does not look at its timers and poller: those who are idle do it for it.
void scheduler::serve_neglected(processor& p, std::int64_t time, runnable_batch& out) noexcept {
  for (auto& other : processors_) {
    if (other.get() == &p || idle_.contains(other->index)) continue;
    if (time - other->served_at.load(std::memory_order_relaxed) < processor::neglected_after_ns) continue;
    other->timers.fire_due(time, out);
    look_at_poller(*other, time, out);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Sleeping.

bool scheduler::work_is_visible(const worker& w) const noexcept {
  if (stopping() || global_size() > 0 || w.has_mail.load(std::memory_order_relaxed)) return true;
  for (const auto& other : processors_)
    if (other->queued() > 0) return true;
  return w.p->lifo.load(std::memory_order_relaxed) != nullptr;
}

// Sleeps in the poller until there may be work. True when another worker woke us: we are searching on its behalf.
bool scheduler::sleep(worker& w, std::int64_t time) noexcept {
  processor& p = *w.p;
  runnable_batch batch;
  const bool woken = idle_.sleep(
      p.index, p.polling, [&] { return work_is_visible(w); },
      [&] { p.poll->wait(p.timers.next_deadline(), time, batch); });
  monitor_.note_activity();
  ready(batch);
  return woken;
}

// ---------------------------------------------------------------------------------------------------------------
// Timers.

// Called inside the runtime or on a foreign thread. A timer of another processor may be earlier than what its worker
// sleeps for.
void scheduler::arm(timer& t) noexcept {
  detail::touch(&detail::the_clock);
  worker* w = this_worker();
  processor* p = local_processor(w);
  processor& target = p ? *p : *processors_.front();
  if (target.timers.arm(t, now()) && !p) target.poll->wake();
}

}  // namespace thrum::sched
