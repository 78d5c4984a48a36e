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

template <class Control>
Control& scheduler::take_block(processor* p) {
  Control* c = p ? cache_of<Control>(*p).take() : nullptr;
  if (!c) [[unlikely]]
    c = take_block_from_pool<Control>(p);
  return *c;
}

template <class Control>
[[gnu::always_inline]] inline void scheduler::free_block_of(processor* p, Control& c) noexcept {
  c.joiner.store(nullptr, std::memory_order_relaxed);
  c.phase.store(activity_phase::free, std::memory_order_release);
  if (!p) [[unlikely]]
    return pool_of<Control>().give_back(&c, &c, 1);
  if (!cache_of<Control>(*p).put(c)) [[unlikely]]
    spill_blocks<Control>(*p);
}

[[gnu::always_inline]] inline void scheduler::free_block(processor* p, task_control& t) noexcept {
  free_block_of(p, t);
}
[[gnu::always_inline]] inline void scheduler::free_block(processor* p, fiber_control& f) noexcept {
  if (f.closure != f.storage || f.failure || f.stack) [[unlikely]]
    strip_block(p, f);
  free_block_of(p, f);
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
  else if (p->policy && p->policy->refuses_another()) [[unlikely]]
    throw_no_block();
  fiber_control* f = &take_block<fiber_control>(p);
  f->size_class = default_class_;
  f->pinned_to.store(nullptr, std::memory_order_relaxed);
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
  if (!publish_end(f, joiner)) free_block(w.p, f);
  count_ended(w.p);  // Last: from here on the scheduler may be found quiescent.
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks.

inline task_control& scheduler::create_task(void* coroutine, std::source_location where) {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  if (!p) [[unlikely]]
    base::refuse_after_fork();
  else if (p->policy && p->policy->refuses_another()) [[unlikely]]
    throw_no_block();
  task_control& t = take_block<task_control>(p);
  t.resume_point = coroutine;
  identify(p, t, where);
  return t;
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
  if (!publish_end(t, joiner)) free_block(w.p, t);
  count_ended(w.p);  // Last: from here on the scheduler may be found quiescent.
}

}  // namespace thrum::sched
