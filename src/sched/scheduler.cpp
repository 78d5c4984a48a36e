// Creating and ending fibers, where it is rare (lifecycle.hpp has the rest), and threads. The flow of runnable fibers
// is in flow.cpp.
#include "sched/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "os/clock.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/cancel.hpp"
#include "sched/diagnose.hpp"
#include "sched/fiber_end.hpp"
#include "sched/lifecycle.hpp"
#include "sched/park.hpp"

namespace thrum::sched {
namespace {

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
      light_fence_(options.membarrier && os::membarrier_register()),
      serial_(next_serial.fetch_add(1, std::memory_order_relaxed)),
      seams_(std::move(s)),
      clock_(seams_->clock()),
      sockets_(seams_->sockets()),
      files_(seams_->files()),
      host_(seams_->host()),
      default_class_(class_of(options.stack_size)),
      fibers_(&class_for(default_class_), options.fibers_max),
      monitor_(*this, options.pace, options.stalls) {
  const auto n = std::clamp(options.processors, 1u, idle_set::processors_max);
  for (unsigned i = 0; i < n; ++i) processors_.push_back(std::make_unique<processor>(*this, i, n > 1, *seams_));
  install_diagnostics(*this);
  try {
    for (auto& p : processors_) create_worker(p.get());
    if (options.monitored) monitor_.start();
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
  for (auto& w : workers_) os::join_thread(w->thread);
  monitor_.stalls().look(*this, os::now_ns());  // What has ended since the monitor did.
  while (visitors_.load(std::memory_order_acquire) != 0) os::yield_thread();
  uninstall_diagnostics(*this);
}

// ---------------------------------------------------------------------------------------------------------------
// Fibers.

void scheduler::throw_no_block() {
  throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                          "thrum: no room for another fiber (fibers_max or address space)");
}

// For a closure that does not fit into the block, or a stack of unusual size.
[[gnu::noinline]] void scheduler::fit_out(processor* p, fiber_control& f, const spawn_request& request) {
  const auto size_class = request.stack_size == 0 ? default_class_ : class_of(request.stack_size);
  f.size_class = size_class;
  if (allocate_closure(f, request) && (size_class == default_class_ || bind_special_stack(f))) return;
  free_block(p, f);
  throw std::bad_alloc();
}

void scheduler::abandon(fiber_control& f) noexcept {
  runtime_section inside;
  processor* p = local_processor(inside.w);
  count_ended(p);
  free_block(p, f);
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
    detail::atomic_thread_fence(std::memory_order_seq_cst);
}

// In this order: a fiber created meanwhile either sees the flag or is met by the walk.
void scheduler::cancel_all() noexcept {
  cancelling_.store(true, std::memory_order_seq_cst);
  fence_of_few();
  for_each_alive([](activity& a) { stop(a); });
}

[[gnu::noinline]] void scheduler::strip_block(processor* p, fiber_control& f) noexcept {
  if (f.closure != f.storage) ::operator delete (f.closure, std::align_val_t{f.closure_align});
  f.closure = f.storage;
  f.failure = nullptr;
  if (f.stack) give_stack_back(p, std::exchange(f.stack, {}), f.size_class);
}

bool scheduler::allocate_closure(fiber_control& f, const spawn_request& request) noexcept {
  if (request.closure_size <= sizeof f.storage && request.closure_align <= fiber_control::storage_align) return true;
  f.closure_align = static_cast<std::uint32_t>(std::max(request.closure_align, fiber_control::storage_align));
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

[[gnu::noinline]] context::stack_ref scheduler::take_stack_from_pool(processor* p, fiber_control& f) noexcept {
  if (f.stack) return f.stack;
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

[[gnu::noinline]] void scheduler::give_stack_to_pool(processor* p, context::stack_ref s,
                                                     std::uint8_t size_class) noexcept {
  if (!p || size_class != default_class_) return class_for(size_class).give_back({&s, 1});
  // The processor's cache is full. The oldest half goes: the newest are the hottest.
  constexpr auto half = processor::stack_cache_max / 2;
  class_for(size_class).give_back({p->stacks, half});
  std::copy(p->stacks + half, p->stacks + processor::stack_cache_max, p->stacks);
  p->stack_count = half;
  p->stacks[p->stack_count++] = s;
}

void scheduler::trim_stacks(std::size_t keep_warm) {
  for (auto& slot : stacks_)
    if (auto* stacks = slot.load(std::memory_order_acquire)) stacks->trim(keep_warm);
}

// ---------------------------------------------------------------------------------------------------------------
// Threads.

worker& scheduler::create_worker(processor* p) {
  auto owned = std::make_unique<worker>(*this, light_fence_, p);
  worker& w = *owned;
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
  if (w) remove_spare(*w);
  return w;
}

// Under threads_lock_.
void scheduler::remove_spare(worker& w) noexcept {
  worker** link = &spare_;
  while (*link != &w) link = &(*link)->next_spare;
  *link = w.next_spare;
  w.spare = false;
  spare_count_.store(spare_count_.load(std::memory_order_relaxed) - 1, std::memory_order_release);
}

bool scheduler::add_spare(worker& w) noexcept {
  runnable_batch mail;
  {
    std::lock_guard held(threads_lock_);
    if (stopping()) return false;
    w.next_spare = spare_;
    spare_ = &w;
    w.spare = true;
    mail = std::exchange(w.inbox, {});
    w.has_mail.store(false, std::memory_order_relaxed);
    spare_count_.store(spare_count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  if (!mail.empty()) inject(mail);  // Whoever finds them will give it a processor.
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

std::size_t scheduler::find_stuck(std::span<stuck_thread> longest) noexcept {
  std::size_t found = 0;
  std::lock_guard held(threads_lock_);
  for (auto& w : workers_) {
    const auto since = w->stuck_since_ns.load(std::memory_order_relaxed);
    const activity* a = w->running_there();
    if (w->spare || since == 0 || !a) continue;
    stuck_thread next{w.get(), a, since};
    for (std::size_t i = 0; i < longest.size(); ++i)
      if (i >= found || next.since_ns < longest[i].since_ns) std::swap(next, longest[i]);
    ++found;
  }
  return found;
}

// The thread has a processor, gets the finder's, or is busy without one: then the fiber waits for it, in its inbox, and
// comes back to the global queue when the thread is spare.
void scheduler::deliver(fiber_control& f, worker& finder) noexcept {
  worker& target = *f.pinned_to.load(std::memory_order_relaxed);
  bool was_spare;
  {
    std::lock_guard held(threads_lock_);
    was_spare = target.spare;
    if (was_spare) remove_spare(target);
    target.inbox.push(&f);
    target.has_mail.store(true, std::memory_order_relaxed);
  }
  if (was_spare) return finder.give_processor_to(target);
  detail::atomic_thread_fence(std::memory_order_seq_cst);  // Waker's step 2; pairs with sleep().
  for (auto& p : processors_) {
    if (p->owner.load(std::memory_order_acquire) != &target) continue;
    p->request_look();
    if (idle_.contains(p->index)) p->poll->wake();
  }
}

// A worker's own.
[[gnu::noinline]] activity* scheduler::open_inbox(worker& w) noexcept {
  std::lock_guard held(threads_lock_);
  activity* first = w.inbox.first;
  w.inbox.first = first->next;
  if (!w.inbox.first) w.inbox.last = nullptr;
  --w.inbox.count;
  w.has_mail.store(w.inbox.first != nullptr, std::memory_order_relaxed);
  return first;
}

}  // namespace thrum::sched
