// The scheduler: processors, workers, the global queue, spare threads, and everything between "runnable" and "running".
//
// How work is found (find_work, in this order): timers and poller when they are due for a look, the global queue every
// 64th dispatch, the LIFO slot, the processor's own queue, the global queue, other processors' queues, the timers and
// poller of processors whose worker has neglected them for a millisecond. Then the worker sleeps in its poller.
//
// The LIFO slot holds the fiber woken last, whose data is still in the cache; after 32 turns in a row it has to queue
// like everybody else, so that two fibers that wake each other cannot starve the rest.
//
// The queue holds some thousands; what does not fit goes to the global queue. While that holds fibers, those that
// timers and poller wake queue up behind them. Both keep a saturated server fair: with a short queue whose overflow
// waits until a periodic look, the connections at the front were served over and over, and the others ten times less
// often.
//
// Waking: pushing the second runnable fiber to a processor wakes a sleeping one (idle_set.hpp). A single runnable
// fiber does not: most often its waker is about to wait, and a wake-up across cores costs more than the wait. If the
// waker computes instead, the monitor moves the fiber to the global queue within about a millisecond.
//
// Rejected: one global queue (contention), spinning idle workers (CPU per request is what servers pay for), a poller
// shared by all workers (every wake-up would cross cores).
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/spinlock.hpp>

#include "context/stack_pool.hpp"
#include "sched/block_pool.hpp"
#include "sched/idle_set.hpp"
#include "sched/monitor.hpp"
#include "sched/processor.hpp"
#include "sched/seams.hpp"
#include "sched/task_control.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {

struct scheduler_options {
  unsigned processors = 1;
  std::size_t stack_size = 256 * 1024;
  std::size_t fibers_max = std::size_t{16} << 20;
  unsigned threads_max = 4096;
  context::guard_mode guards = context::guard_mode::automatic;
  bool membarrier = true;  // False: do without, as where the kernel has none.
  bool monitored = true;   // False: nobody hands over processors, proves deadlocks or serves SIGQUIT.
  monitor_pace pace = {};
  stall_log stalls = {};
};

// A thread whose fiber or task has lost its processor and does not suspend.
struct stuck_thread {
  const worker* who = nullptr;
  const activity* runs = nullptr;
  std::int64_t since_ns = 0;
};

struct spawn_request {
  std::size_t closure_size = 0;
  std::size_t closure_align = 1;
  std::size_t stack_size = 0;  // 0: the default.
  std::string_view name;
  std::source_location where;
};

class scheduler {
 public:
  scheduler(const scheduler_options& options, std::unique_ptr<seams> s);
  ~scheduler();  // All fibers must have ended.
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  // --- Fibers (lifecycle.hpp). create() throws std::bad_alloc or std::system_error when memory, address space or
  // fibers_max is exhausted; the closure is then built in f.closure and the fiber is started or abandoned.
  fiber_control& create(const spawn_request& request);
  void abandon(fiber_control& f) noexcept;
  void start(activity& a) noexcept;
  void release(fiber_control& f) noexcept;  // By the owner of its handle, once it has ended.

  // --- Tasks, likewise. Throws std::system_error when no block is to be had.
  task_control& create_task(void* coroutine, std::source_location where);
  void abandon(task_control& t) noexcept;
  void release(task_control& t) noexcept;

  // --- Runnable fibers; inside the runtime or on a foreign thread.
  void ready(activity& f) noexcept { ready(f, this_worker()); }
  void ready(activity& f, worker* w) noexcept {  // Next on this worker, `w`.
    processor* p = local_processor(w);
    if (!p) return inject(f);
    if (auto* displaced = p->swap_lifo(&f)) push_tail(*p, *displaced);
  }
  void ready(runnable_batch& batch) noexcept;  // Behind what is queued here.
  void inject(activity& f) noexcept;           // To the global queue.
  void inject(const runnable_batch& batch) noexcept;
  void requeue(processor& p, activity& f) noexcept { push_tail(p, f); }  // Behind what is queued here: a yield.

  // --- The worker loop.
  activity* find_work(worker& w) noexcept;  // Null at shutdown.
  // Fires what is due; looks at the poller, when `poll` says so, at intervals.
  void serve(processor& p, std::int64_t now, bool poll, runnable_batch& out) noexcept;
  void retire(worker& w, fiber_control& f, waiter* joiner) noexcept;
  void retire(worker& w, task_control& t, waiter* joiner) noexcept;
  context::stack_ref take_stack(processor* p, fiber_control& f) noexcept;
  void wake_idle() noexcept;

  // --- Timers; inside the runtime or on a foreign thread.
  void arm(timer& t) noexcept;
  std::int64_t now() noexcept { return clock_.now_ns(); }
  std::uint64_t random() noexcept;
  processor& processor_here() noexcept;                         // This worker's, or the first.
  socket_system* sockets() const noexcept { return sockets_; }  // Null: the kernel's.
  file_system* files() const noexcept { return files_; }        // Null: the kernel's.
  std::string_view describe_poller() const noexcept { return seams_->describe_poller(); }
  runtime_host* host() const noexcept { return host_; }  // Null: runtimes have threads of their own.

  // --- Threads.
  worker* take_spare() noexcept;
  bool add_spare(worker& w) noexcept;  // False at shutdown.
  bool ensure_spare() noexcept;        // The monitor: creates a thread when none is spare. False at the cap.
  void spare_has_started() noexcept { spares_starting_.fetch_sub(1, std::memory_order_relaxed); }
  bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }
  void hand_over(processor& p, worker& to) noexcept;

  // --- Pinned fibers. The finder, a worker with a processor, has found one that is runnable, but pinned to another.
  void deliver(fiber_control& f, worker& finder) noexcept;
  activity* take_mail(worker& w) noexcept {
    if (!w.has_mail.load(std::memory_order_relaxed)) [[likely]]
      return nullptr;
    return open_inbox(w);
  }

  // --- The end.
  bool quiescent() const noexcept { return live_count() == 0; }
  std::size_t live_count() const noexcept;  // Exact when none is created or ends meanwhile; 0 only if none was alive.
  void cancel_all() noexcept;               // Cancels every fiber, and those created from now on.
  bool cancelling() const noexcept { return cancelling_.load(std::memory_order_relaxed); }

  // --- Looking in, for the monitor, dumps and tests.
  unsigned processor_count() const noexcept { return static_cast<unsigned>(processors_.size()); }
  processor& processor_at(unsigned i) noexcept { return *processors_[i]; }
  idle_set& idle() noexcept { return idle_; }
  bool all_idle() const noexcept { return idle_.count() == processors_.size(); }
  std::size_t global_size() const noexcept { return global_count_.load(std::memory_order_acquire); }
  block_pool<fiber_control>& fibers() noexcept { return fibers_; }
  block_pool<task_control>& tasks() noexcept { return tasks_; }
  // Calls visit(activity&) for every fiber and every task that lives.
  template <class Visit>
  void for_each_alive(Visit visit) {
    const auto visit_alive = [&](activity& a) {
      if (a.alive()) visit(a);
    };
    fibers_.for_each(visit_alive);
    tasks_.for_each(visit_alive);
  }
  context::stack_class& default_stacks() noexcept { return class_for(default_class_); }
  void trim_stacks(std::size_t keep_warm);
  // How many threads are stuck; fills in those that have been for longest.
  std::size_t find_stuck(std::span<stuck_thread> longest) noexcept;
  std::size_t workers_total() const noexcept { return workers_total_.load(std::memory_order_acquire); }
  std::size_t spares() const noexcept { return spare_count_.load(std::memory_order_acquire); }
  monitor& the_monitor() noexcept { return monitor_; }
  unsigned threads_max() const noexcept { return options_.threads_max; }

  // Two sides that each write and then read what the other writes, one of them often: the frequent side only keeps the
  // compiler from reordering where membarrier(2) lets the other side fence for both.
  void fence_of_many() const noexcept {
    if (light_fence_)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    else
      detail::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void fence_of_few() const noexcept;
  std::uint64_t serial() const noexcept { return serial_; }  // Unique in the process.

 private:
  friend class monitor;

  void shut_down() noexcept;
  processor* local_processor(worker* w) const noexcept { return w && &w->home == this ? w->p : nullptr; }
  context::stack_class& class_for(std::uint8_t log2);
  bool bind_special_stack(fiber_control& f);
  context::stack_ref take_stack_from_pool(processor* p, fiber_control& f) noexcept;
  void give_stack_back(processor* p, context::stack_ref s, std::uint8_t size_class) noexcept;
  void give_stack_to_pool(processor* p, context::stack_ref s, std::uint8_t size_class) noexcept;
  std::uint64_t count_created(processor* p) noexcept;
  void count_ended(processor* p) noexcept;
  template <class Control>
  block_pool<Control>& pool_of() noexcept {
    if constexpr (std::is_same_v<Control, fiber_control>)
      return fibers_;
    else
      return tasks_;
  }
  template <class Control>
  static block_cache<Control>& cache_of(processor& p) noexcept {
    if constexpr (std::is_same_v<Control, fiber_control>)
      return p.free_fibers;
    else
      return p.free_tasks;
  }
  template <class Control>
  Control& take_block(processor* p);
  template <class Control>
  [[gnu::noinline]] Control* take_block_from_pool(processor* p) {
    std::size_t got = 0;
    if (p) cache_of<Control>(*p).refill(pool_of<Control>());
    Control* c = p ? cache_of<Control>(*p).take() : pool_of<Control>().acquire(1, got);
    if (!c) throw_no_block();
    return c;
  }
  template <class Control>
  [[gnu::noinline]] void spill_blocks(processor& p) noexcept {
    cache_of<Control>(p).spill(pool_of<Control>());
  }
  [[noreturn]] static void throw_no_block();
  void fit_out(processor* p, fiber_control& f, const spawn_request& request);
  bool allocate_closure(fiber_control& f, const spawn_request& request) noexcept;
  void identify(processor* p, activity& a, std::source_location where) noexcept;
  void free_block(processor* p, fiber_control& f) noexcept;
  void free_block(processor* p, task_control& t) noexcept;
  template <class Control>
  void free_block_of(processor* p, Control& c) noexcept;
  void strip_block(processor* p, fiber_control& f) noexcept;
  worker& create_worker(processor* p);
  void remove_spare(worker& w) noexcept;

  void push_tail(processor& p, activity& f) noexcept {
    if (!p.queue.push(&f)) [[unlikely]]
      return inject(f);
    if (p.shared) notify(p);
  }
  void push_fresh(processor& p, activity& f) noexcept {
    if (!p.push_fresh(&f)) [[unlikely]]
      return inject(f);
    if (p.shared) notify(p);
  }
  void notify(processor& p) noexcept;
  activity* next_local(processor& p, bool global_first) noexcept;
  activity* ask_policy(processor& p) noexcept;
  activity* take_global(processor& p) noexcept;
  activity* steal(processor& p) noexcept;
  static void look_at_poller(processor& p, std::int64_t now, runnable_batch& out) noexcept;
  void serve_neglected(processor& p, std::int64_t now, runnable_batch& out) noexcept;
  bool work_is_visible(const worker& w) const noexcept;
  bool sleep(worker& w, std::int64_t time) noexcept;
  activity* open_inbox(worker& w) noexcept;

  // Constant after construction.
  const scheduler_options options_;
  const bool light_fence_;
  const std::uint64_t serial_;
  const std::unique_ptr<seams> seams_;
  clock_source& clock_;
  socket_system* const sockets_;
  file_system* const files_;
  runtime_host* const host_;
  const std::uint8_t default_class_;
  std::vector<std::unique_ptr<processor>> processors_;

  static constexpr std::size_t tasks_max = std::size_t{1} << 32;

  // Own synchronisation.
  idle_set idle_;
  static constexpr std::size_t stack_classes = 40;
  detail::spinlock growth_lock_;
  std::vector<std::unique_ptr<context::stack_class>> stack_owners_;  // Guarded by growth_lock_.
  std::atomic<context::stack_class*> stacks_[stack_classes]{};       // By log2 of the size.
  block_pool<fiber_control> fibers_;
  block_pool<task_control> tasks_{nullptr, tasks_max};
  detail::atomic<std::uint64_t> created_elsewhere_{0};
  detail::atomic<std::uint64_t> ended_elsewhere_{0};
  detail::atomic<bool> stopping_{false};
  detail::atomic<std::uint32_t> visitors_{0};  // Threads of others inside inject().
  detail::atomic<bool> cancelling_{false};

  // Guarded by global_lock_; the count may be read without it.
  detail::spinlock global_lock_;
  runnable_batch global_;
  detail::atomic<std::size_t> global_count_{0};

  // Guarded by threads_lock_; the counts may be read without it.
  detail::spinlock threads_lock_;
  std::vector<std::unique_ptr<worker>> workers_;
  worker* spare_ = nullptr;
  detail::atomic<std::size_t> spare_count_{0};
  std::atomic<std::size_t> spares_starting_{0};  // Created, but not yet in the pool.
  std::atomic<std::size_t> workers_total_{0};

  monitor monitor_;
};

}  // namespace thrum::sched
