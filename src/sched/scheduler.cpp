// Creating and ending fibers, and threads. The flow of runnable fibers is in flow.cpp.
#include "sched/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/cancel.hpp"
#include "sched/diagnose.hpp"
#include "sched/fiber_end.hpp"
#include "sched/park.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t refill = 64;  // Blocks and stacks move between caches and pools in batches of this size.
constexpr std::size_t stack_size_min = 16 * 1024;
constexpr std::size_t stack_size_max = std::size_t{1} << 32;

std::atomic<std::uint64_t> next_serial{1};

std::uint8_t class_of(std::size_t stack_size) {
  if (stack_size > stack_size_max)
    throw std::system_error(std::make_error_code(std::errc::not_enough_memory), "thrum: stack size above 4 GiB");
  return static_cast<std::uint8_t>(std::bit_width(std::max(stack_size, stack_size_min) - 1));
}

}  // namespace

scheduler::scheduler(const scheduler_options& options, std::unique_ptr<seams> s)
    : options_(options),
      light_fence_(os::membarrier_register()),
      serial_(next_serial.fetch_add(1, std::memory_order_relaxed)),
      seams_(std::move(s)),
      clock_(seams_->clock()),
      policy_(seams_->policy()),
      fifo_(dynamic_cast<pick_fifo*>(&policy_)),
      default_class_(class_of(options.stack_size)),
      fibers_(class_for(default_class_), options.fibers_max),
      monitor_(*this, options.pace) {
  const auto n = std::clamp(options.processors, 1u, idle_set::processors_max);
  for (unsigned i = 0; i < n; ++i) processors_.push_back(std::make_unique<processor>(*this, i, n > 1, *seams_));
  install_diagnostics(*this);
  try {
    for (auto& p : processors_) create_worker(p.get());
    monitor_.start();
  } catch (...) {
    shut_down();
    throw;
  }
}

scheduler::~scheduler() { shut_down(); }

void scheduler::shut_down() noexcept {
  monitor_.stop();
  stopping_.store(true, std::memory_order_seq_cst);
  for (auto& p : processors_) p->poll->wake();
  for (;;) {
    worker* w = take_spare();
    if (!w) break;
    w->dismiss();
  }
  for (auto& w : workers_) ::pthread_join(w->thread, nullptr);
  while (visitors_.load(std::memory_order_acquire) != 0) os::yield_thread();
  uninstall_diagnostics(*this);
}

// ---------------------------------------------------------------------------------------------------------------
// Fibers.

fiber_control& scheduler::create(const spawn_request& request) {
  const auto size_class = request.stack_size == 0 ? default_class_ : class_of(request.stack_size);
  runtime_section inside;
  processor* p = local_processor(inside.w);
  if (!p) base::refuse_after_fork();
  fiber_control* f = take_block(p);
  if (!f)
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                            "thrum: no room for another fiber (fibers_max or address space)");
  f->size_class = size_class;
  f->hogged = false;
  if (!allocate_closure(*f, request) || (size_class != default_class_ && !bind_special_stack(*f))) {
    free_block(p, *f);
    throw std::bad_alloc();
  }
  f->name.set(request.name);
  f->home = this;
  f->where.store(request.where, std::memory_order_relaxed);
  f->active = &f->own_scope;
  f->own_scope.owner = f;
  f->own_scope.flags.store(cancelling() ? detail::cancel_node::cancelled : 0u, std::memory_order_relaxed);
  f->cancel_pending.store(cancelling(), std::memory_order_relaxed);
  f->id.store(count_created(p), std::memory_order_relaxed);
  f->phase.store(fiber_phase::fresh, std::memory_order_release);
  fence_of_many();  // Pairs with cancel_all(): it meets the fiber, or the fiber sees that it is cancelled.
  if (cancelling()) [[unlikely]] {
    f->own_scope.flags.fetch_or(detail::cancel_node::cancelled, std::memory_order_relaxed);
    f->cancel_pending.store(true, std::memory_order_relaxed);
  }
  return *f;
}

// Also gives the fiber its number: unique without a counter that all processors would share.
std::uint64_t scheduler::count_created(processor* p) noexcept {
  if (!p) return (created_elsewhere_.fetch_add(1, std::memory_order_relaxed) + 1) << 9;
  const auto n = p->created.load(std::memory_order_relaxed) + 1;
  p->created.store(n, std::memory_order_relaxed);
  return n << 9 | (p->index + 1);
}

void scheduler::abandon(fiber_control& f) noexcept {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  count_ended(p);
  free_block(p, f);
}

void scheduler::start(fiber_control& f) noexcept {
  runtime_section inside;
  if (processor* p = local_processor(inside.w))
    push_tail(*p, f);
  else
    inject(f);
}

void scheduler::release(fiber_control& f) noexcept {
  runtime_section inside;
  free_block(local_processor(inside.w), f);
}

// The worker that has left the fiber for good: inside the runtime, on another stack.
void scheduler::retire(worker& w, fiber_control& f, waiter* joiner) noexcept {
  give_stack_back(w.p, std::exchange(f.stack, {}), f.size_class);
  f.phase.store(fiber_phase::done, std::memory_order_release);
  if (!publish_end(f, joiner)) free_block(w.p, f);
  count_ended(w.p);  // Last: from here on the scheduler may be found quiescent.
}

void scheduler::count_ended(processor* p) noexcept {
  if (p)
    p->ended.store(p->ended.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  else
    ended_elsewhere_.fetch_add(1, std::memory_order_release);
}

// All that had ended before the first sum was created before the second: equal sums mean that none was alive between.
std::size_t scheduler::live_count() const noexcept {
  auto ended = ended_elsewhere_.load(std::memory_order_acquire);
  for (const auto& p : processors_) ended += p->ended.load(std::memory_order_acquire);
  auto created = created_elsewhere_.load(std::memory_order_acquire);
  for (const auto& p : processors_) created += p->created.load(std::memory_order_acquire);
  return created - ended;
}

// The rare side of an asymmetric fence pays for both.
void scheduler::fence_of_few() const noexcept {
  if (light_fence_)
    os::membarrier_private();
  else
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

// In this order: a fiber created meanwhile either sees the flag or is met by the walk.
void scheduler::cancel_all() noexcept {
  cancelling_.store(true, std::memory_order_seq_cst);
  fence_of_few();
  fibers_.for_each([](fiber_control& f) {
    const auto phase = f.phase.load(std::memory_order_acquire);
    if (phase != fiber_phase::fresh && phase != fiber_phase::started) return;
    runnable_batch batch;
    cancel(f.own_scope, detail::cancel_node::cancelled, batch);
    make_runnable(batch);
  });
}

fiber_control* scheduler::take_block(processor* p) {
  std::size_t got = 0;
  if (!p) return fibers_.acquire(1, got);
  if (!p->free_fibers) {
    p->free_fibers = fibers_.acquire(refill, got);
    p->free_fiber_count = got;
  }
  fiber_control* f = p->free_fibers;
  if (!f) return nullptr;
  p->free_fibers = f->next;
  --p->free_fiber_count;
  return f;
}

void scheduler::free_block(processor* p, fiber_control& f) noexcept {
  if (f.closure != f.storage) ::operator delete (f.closure, std::align_val_t{f.closure_align});
  f.closure = f.storage;
  if (f.failure) f.failure = nullptr;
  f.joiner.store(nullptr, std::memory_order_relaxed);
  if (f.stack) give_stack_back(p, std::exchange(f.stack, {}), f.size_class);
  f.phase.store(fiber_phase::free, std::memory_order_release);
  if (!p) return fibers_.give_back(&f, &f, 1);
  f.next = p->free_fibers;
  p->free_fibers = &f;
  if (++p->free_fiber_count <= processor::fiber_cache_max) return;
  fiber_control* first = p->free_fibers;
  fiber_control* last = first;
  for (std::size_t i = 1; i < refill; ++i) last = last->next;
  p->free_fibers = last->next;
  p->free_fiber_count -= refill;
  fibers_.give_back(first, last, refill);
}

bool scheduler::allocate_closure(fiber_control& f, const spawn_request& request) noexcept {
  f.closure = f.storage;
  if (request.closure_size <= sizeof f.storage && request.closure_align <= 16) return true;
  f.closure_align = static_cast<std::uint32_t>(std::max<std::size_t>(request.closure_align, 16));
  f.closure = ::operator new (request.closure_size, std::align_val_t{f.closure_align}, std::nothrow);
  if (f.closure) return true;
  f.closure = f.storage;
  return false;
}

// ---------------------------------------------------------------------------------------------------------------
// Stacks.

context::stack_class& scheduler::class_for(std::uint8_t log2) {
  auto& slot = stacks_[log2];
  if (auto* existing = slot.load(std::memory_order_acquire)) return *existing;
  std::lock_guard held(growth_lock_);
  if (auto* existing = slot.load(std::memory_order_acquire)) return *existing;
  stack_owners_.push_back(std::make_unique<context::stack_class>(std::size_t{1} << log2, options_.guards));
  slot.store(stack_owners_.back().get(), std::memory_order_release);
  return *stack_owners_.back();
}

// Stacks of unusual size have no reserved capacity behind them: they are taken when the fiber is created.
bool scheduler::bind_special_stack(fiber_control& f) {
  auto& stacks = class_for(f.size_class);
  if (stacks.acquire({&f.stack, 1}) == 1) return true;
  return stacks.ensure_capacity(stacks.capacity() + 1) && stacks.acquire({&f.stack, 1}) == 1;
}

context::stack_ref scheduler::take_stack(processor* p, fiber_control& f) noexcept {
  if (f.stack) return f.stack;
  if (p && p->stack_count > 0) [[likely]]
    return p->stacks[--p->stack_count];
  auto& stacks = class_for(f.size_class);
  context::stack_ref s;
  if (p) {
    p->stack_count = stacks.acquire({p->stacks, processor::stack_cache_max / 2});
    if (p->stack_count > 0) return p->stacks[--p->stack_count];
  }
  // Every control block has a stack's worth of capacity, but the other processors' caches may hold what is missing.
  while (stacks.acquire({&s, 1}) == 0)
    if (!stacks.ensure_capacity(stacks.capacity() + 1)) base::panic("the address space reserved for stacks is used up");
  return s;
}

void scheduler::give_stack_back(processor* p, context::stack_ref s, std::uint8_t size_class) noexcept {
  if (!p || size_class != default_class_) return class_for(size_class).give_back({&s, 1});
  if (p->stack_count == processor::stack_cache_max) {
    // The oldest half goes: the newest are the hottest.
    constexpr auto half = processor::stack_cache_max / 2;
    class_for(size_class).give_back({p->stacks, half});
    std::copy(p->stacks + half, p->stacks + processor::stack_cache_max, p->stacks);
    p->stack_count = half;
  }
  p->stacks[p->stack_count++] = s;
}

void scheduler::trim_stacks(std::size_t keep_warm) {
  for (auto& slot : stacks_)
    if (auto* stacks = slot.load(std::memory_order_acquire)) stacks->trim(keep_warm);
}

// ---------------------------------------------------------------------------------------------------------------
// Threads.

worker& scheduler::create_worker(processor* p) {
  auto owned = std::make_unique<worker>(*this, light_fence_);
  worker& w = *owned;
  w.p = p;
  if (p) p->owner.store(&w, std::memory_order_release);
  std::lock_guard held(threads_lock_);
  workers_.reserve(workers_.size() + 1);
  const int error = os::start_thread(
      w.thread,
      [](void* self) -> void* {
        static_cast<worker*>(self)->main_loop();
        return nullptr;
      },
      &w);
  if (error) throw std::system_error(error, std::generic_category(), "thrum: cannot create a worker thread");
  workers_.push_back(std::move(owned));
  workers_total_.store(workers_.size(), std::memory_order_release);
  return w;
}

worker* scheduler::take_spare() noexcept {
  std::lock_guard held(threads_lock_);
  worker* w = spare_;
  if (!w) return nullptr;
  spare_ = w->next_spare;
  spare_count_.store(spare_count_.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  return w;
}

bool scheduler::add_spare(worker& w) noexcept {
  std::lock_guard held(threads_lock_);
  if (stopping()) return false;
  w.next_spare = spare_;
  spare_ = &w;
  spare_count_.store(spare_count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  return true;
}

bool scheduler::ensure_spare() noexcept {
  if (spares() > 0 || spares_starting_.load(std::memory_order_relaxed) > 0) return true;
  if (workers_total() >= options_.threads_max) return false;
  spares_starting_.fetch_add(1, std::memory_order_relaxed);
  try {
    create_worker(nullptr);
  } catch (...) {  // No thread to be had now (RLIMIT_NPROC, memory): as at the cap.
    spare_has_started();
    return false;
  }
  return true;
}

void scheduler::hand_over(processor& p, worker& to) noexcept {
  p.owner.store(&to, std::memory_order_release);
  monitor_.count_handoff();
  to.assign(p);
}

}  // namespace thrum::sched
