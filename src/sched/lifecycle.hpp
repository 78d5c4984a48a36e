// A fiber's birth and end: the hot half of scheduler.cpp and fiber_end.cpp, inlined into spawn, join and the switch.
//
// A block and a stack come from the processor's caches and go back there; what is rare (another processor's, a closure
// too large for the block, a stack of unusual size, a cache that is empty or full) is done out of line.
#pragma once

#include <utility>

#include "base/fork.hpp"
#include "sched/fiber_end.hpp"
#include "sched/processor.hpp"
#include "sched/scheduler.hpp"

namespace thrum::sched {

inline fiber_control* scheduler::take_block(processor* p) {
  if (!p || !p->free_fibers) [[unlikely]]
    return take_block_from_pool(p);
  fiber_control* f = p->free_fibers;
  p->free_fibers = static_cast<fiber_control*>(f->next);
  --p->free_fiber_count;
  return f;
}

[[gnu::always_inline]] inline void scheduler::free_block(processor* p, fiber_control& f) noexcept {
  if (f.closure != f.storage || f.failure || f.stack) [[unlikely]]
    strip_block(p, f);
  f.joiner.store(nullptr, std::memory_order_relaxed);
  f.phase.store(activity_phase::free, std::memory_order_release);
  if (!p) [[unlikely]]
    return fibers_.give_back(&f, &f, 1);
  f.next = p->free_fibers;
  p->free_fibers = &f;
  if (++p->free_fiber_count > processor::fiber_cache_max) [[unlikely]]
    return_blocks(*p);
}

[[gnu::always_inline]] inline context::stack_ref scheduler::take_stack(processor* p, fiber_control& f) noexcept {
  if (f.stack || !p || p->stack_count == 0) [[unlikely]]
    return take_stack_from_pool(p, f);
  return p->stacks[--p->stack_count];
}

[[gnu::always_inline]] inline void scheduler::give_stack_back(processor* p, context::stack_ref s,
                                                              std::uint8_t size_class) noexcept {
  if (!p || size_class != default_class_ || p->stack_count == processor::stack_cache_max) [[unlikely]]
    return give_stack_to_pool(p, s, size_class);
  p->stacks[p->stack_count++] = s;
}

// Also gives the fiber its number: unique without a counter that all processors would share.
inline std::uint64_t scheduler::count_created(processor* p) noexcept {
  if (!p) [[unlikely]]
    return (created_elsewhere_.fetch_add(1, std::memory_order_relaxed) + 1) << 9;
  const auto n = p->created.load(std::memory_order_relaxed) + 1;
  p->created.store(n, std::memory_order_relaxed);
  return n << 9 | (p->index + 1);
}

inline void scheduler::count_ended(processor* p) noexcept {
  if (p)
    p->ended.store(p->ended.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  else
    ended_elsewhere_.fetch_add(1, std::memory_order_release);
}

inline fiber_control& scheduler::create(const spawn_request& request) {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  if (!p) [[unlikely]]
    base::refuse_after_fork();
  fiber_control* f = take_block(p);
  if (!f) [[unlikely]]
    throw_no_block();
  f->size_class = default_class_;
  if (request.closure_size > sizeof f->storage || request.closure_align > fiber_control::storage_align ||
      request.stack_size != 0) [[unlikely]]
    fit_out(p, *f, request);
  if (request.name.empty())
    f->name.clear();
  else
    f->name.set(request.name);
  identify(p, *f, request.where);
  return *f;
}

[[gnu::always_inline]] inline void scheduler::identify(processor* p, activity& a, std::source_location where) noexcept {
  a.hogged.store(false, std::memory_order_relaxed);
  a.home = this;
  a.where.store(where, std::memory_order_relaxed);
  a.own_scope.flags.store(0, std::memory_order_relaxed);
  a.cancel_pending.store(false, std::memory_order_relaxed);
  a.id.store(count_created(p), std::memory_order_relaxed);
  a.phase.store(activity_phase::fresh, std::memory_order_release);
  fence_of_many();  // Pairs with cancel_all(): it meets the activity, or the activity sees that it is cancelled.
  if (cancelling()) [[unlikely]] {
    a.own_scope.flags.fetch_or(detail::cancel_node::cancelled, std::memory_order_relaxed);
    a.cancel_pending.store(true, std::memory_order_relaxed);
  }
}

inline void scheduler::start(activity& a) noexcept {
  runtime_section inside;
  if (processor* p = local_processor(inside.w)) [[likely]]
    push_fresh(*p, a);
  else
    inject(a);
}

inline void scheduler::release(fiber_control& f) noexcept {
  runtime_section inside;
  free_block(local_processor(inside.w), f);
}

// The joiner, if it is parked on the same runtime and nobody else has claimed it: to be switched to directly. From the
// claim on it waits for the end to be published; so the end need not be announced.
[[gnu::always_inline]] inline fiber_control* claim_parked_joiner(fiber_control& f) noexcept {
  waiter* joiner = f.joiner.load(std::memory_order_acquire);
  if (!activity::is_waiter(joiner) || joiner->kind() != waiter_kind::fiber) return nullptr;
  auto& fiber = *static_cast<fiber_control*>(joiner);
  const auto episode = waiter::numbered(f.joiner_episode);
  if (fiber.home != f.home || !joiner->claim_parked(episode, claim_code::first_clause)) return nullptr;
  return &fiber;
}

// The worker that has left the fiber for good: inside the runtime, on another stack.
inline void scheduler::retire(worker& w, fiber_control& f, waiter* joiner) noexcept {
  give_stack_back(w.p, std::exchange(f.stack, {}), f.size_class);
  f.phase.store(activity_phase::done, std::memory_order_release);
  if (!joiner)
    f.joiner.store(fiber_control::ended(), std::memory_order_release);  // Publishes the failure and all of the block.
  else if (!publish_end(f, joiner))
    free_block(w.p, f);
  count_ended(w.p);  // Last: from here on the scheduler may be found quiescent.
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks.

inline task_control& scheduler::create_task(void* coroutine, std::source_location where) {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  if (!p) [[unlikely]]
    base::refuse_after_fork();
  task_control* t = take_task_block(p);
  if (!t) [[unlikely]]
    throw_no_block();
  t->resume_point = coroutine;
  identify(p, *t, where);
  return *t;
}

inline task_control* scheduler::take_task_block(processor* p) {
  std::size_t got = 0;
  if (!p) [[unlikely]]
    return tasks_.acquire(1, got);
  if (!p->free_tasks) [[unlikely]] {
    p->free_tasks = tasks_.acquire(processor::task_cache_max / 4, got);
    p->free_task_count = got;
    if (got == 0) return nullptr;
  }
  task_control* t = p->free_tasks;
  p->free_tasks = static_cast<task_control*>(t->next);
  --p->free_task_count;
  return t;
}

[[gnu::always_inline]] inline void scheduler::free_block(processor* p, task_control& t) noexcept {
  t.joiner.store(nullptr, std::memory_order_relaxed);
  t.phase.store(activity_phase::free, std::memory_order_release);
  if (!p) [[unlikely]]
    return tasks_.give_back(&t, &t, 1);
  t.next = p->free_tasks;
  p->free_tasks = &t;
  if (++p->free_task_count > processor::task_cache_max) [[unlikely]]
    return_task_blocks(*p);
}

// Before it has been started; its coroutine stays the caller's.
inline void scheduler::abandon(task_control& t) noexcept {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  count_ended(p);
  free_block(p, t);
}

inline void scheduler::release(task_control& t) noexcept {
  runtime_section inside;
  free_block(local_processor(inside.w), t);
}

// The worker, back in its loop.
inline void scheduler::retire(worker& w, task_control& t, waiter* joiner) noexcept {
  t.phase.store(activity_phase::done, std::memory_order_release);
  if (!joiner)
    t.joiner.store(activity::ended(), std::memory_order_release);  // Publishes the frame and all of the block.
  else if (!publish_end(t, joiner))
    free_block(w.p, t);
  count_ended(w.p);  // Last: from here on the scheduler may be found quiescent.
}

}  // namespace thrum::sched
