// The worker: an OS thread that runs fibers and tasks while it holds a processor. And the hand-off protocol, in one
// file.
//
// Every entry into the runtime that touches the processor is bracketed by enter() and leave(). Between them `in_rt_`
// is 1 and nobody can take the processor away; outside (user code runs) the monitor may.
//
//   enter    in_rt_ = 1; compiler barrier; read retake_
//   leave    in_rt_ = 0
//   monitor  retake_: none -> asked; membarrier; if in_rt_ is set, give up (the request stays);
//            else retake_: asked -> lost, and the processor goes to another worker
//
// Either the worker's in_rt_ = 1 precedes the barrier and the monitor sees it, or the worker's read of retake_ follows
// the barrier and sees the request; then the compare-and-swap on retake_ decides. membarrier(2) is what lets enter()
// do without a fence; where the kernel has none, every enter() takes its slow path and fences there.
//
// A worker that has lost its processor goes on with its fiber as a foreign thread would: wakes and spawns go to the
// global queue. At the fiber's next call that may suspend, the fiber is queued for a processor and the thread parks
// in the pool of spare threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

#include <pthread.h>

#include "base/assert.hpp"
#include "context/context.hpp"
#include "sched/fiber_control.hpp"
#include "sched/self.hpp"
#include "sched/task_control.hpp"

namespace thrum::sched {

class scheduler;
class processor;

// What to do with the fiber that has just been left, once its context is saved; or with a task, once its coroutine is
// suspended.
enum class after_switch : std::uint8_t { nothing, park, yield, yield_global, retire };

// Builds that leave out one part of the protocol, to prove that tests/handoff_test.cpp notices.
namespace mutation {
#if defined(THRUM_MUTATE_NO_BUSY_FLAG)
inline constexpr bool no_busy_flag = true;
#else
inline constexpr bool no_busy_flag = false;
#endif
#if defined(THRUM_MUTATE_NO_FENCE)
inline constexpr bool no_fence = true;
#else
inline constexpr bool no_fence = false;
#endif
#if defined(THRUM_MUTATE_NO_RECHECK)
inline constexpr bool no_recheck = true;
#else
inline constexpr bool no_recheck = false;
#endif
}  // namespace mutation

class alignas(64) worker {
 public:
  // Workers ask the kernel for short turns, so that they get the core back quickly beside threads that lost their
  // processor, which keep the kernel's default.
  static constexpr std::int64_t worker_slice_ns = 500'000;

  enum : std::uint32_t { none, asked, lost };  // retake_

  worker(scheduler& home, bool light_fence) noexcept : home(home), light_fence_(light_fence) {}

  // --- Entering and leaving the runtime; by this worker's thread.
  void enter() noexcept {
    if (!mutation::no_busy_flag) in_rt_.store(1, std::memory_order_relaxed);
    // Pairs with the membarrier in try_retake(). Without membarrier the budget is always used up: see enter_slow().
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (--budget_ < 0 || retake_requested()) [[unlikely]]
      enter_slow();
  }
  bool retake_requested() const noexcept {
    return !mutation::no_recheck && retake_.load(std::memory_order_acquire) != none;
  }
  void leave() noexcept {
    THRUM_ASSERT(owns_its_processor());
    in_rt_.store(0, std::memory_order_release);  // Pairs with the monitor's acquire.
  }

  // Inside the runtime nobody can have taken it away. Always true; for assertions.
  bool owns_its_processor() const noexcept;

  // --- Switching (switch.hpp); inside the runtime, by the current fiber. Returns when the fiber runs again, with the
  // worker that runs it then.
  static worker& suspend(worker& w, after_switch what) noexcept;
  static worker& yield(worker& w) noexcept;
  [[noreturn]] static void finish(worker& w) noexcept;

  // At the start of a call that may suspend: counts it, and gives way when the monitor has asked, the fiber's time is
  // up, timers are due, or the processor is lost.
  static void begin_suspending_call(worker& w) noexcept {
    if (w.wants_slow_entry()) [[unlikely]]
      give_way_if_asked();
  }
  // Who wants to yield has no budget.
  bool wants_slow_entry() noexcept { return --budget_ < 0 || retake_.load(std::memory_order_relaxed) != none; }
  bool should_yield() const noexcept { return yield_wanted_; }

  // --- Tasks. What is to be done with the running one once its coroutine has been suspended.
  void plan(after_switch what) noexcept { after_ = what; }
  // It has ended; `failure`, in its outermost coroutine's promise, is null if it has ended well.
  void plan_end(void* root, const std::exception_ptr* failure) noexcept {
    task()->resume_point = root;
    task_failure_ = failure;
    after_ = after_switch::retire;
  }
  // From one coroutine of the running task to another. Compilers turn a symmetric transfer into a jump only when they
  // optimise, if at all: so after some transfers the worker takes over, and the stack does not grow.
  static constexpr int transfers_max = 64;
  bool transfer_through_worker(void* coroutine) noexcept {
    if (--transfers_left_ > 0) [[likely]]
      return false;
    transfer_to_ = coroutine;
    return true;
  }

  // --- The monitor's side of the protocol (see above). True: the caller now owns the processor.
  bool try_retake() noexcept;
  bool in_runtime() const noexcept { return in_rt_.load(std::memory_order_acquire) != 0; }

  // What it runs has lost a processor before. Should it end meanwhile, its block stays readable.
  bool hogged_before() const noexcept {
    const activity* a = running();
    return a && a->hogged.load(std::memory_order_relaxed);
  }

  // Gives a processor to this spare worker and wakes it. The caller owns the processor.
  void assign(processor& given) noexcept;
  void dismiss() noexcept;  // The same at shutdown: it ends without a processor.

  // The thread's body.
  void main_loop() noexcept;

  // --- Constant once the thread runs.
  scheduler& home;
  pthread_t thread{};
  std::atomic<pid_t> tid{0};

  // The fiber, or the task, that it runs. Written by this thread; the monitor reads.
  fiber_control* current() const noexcept { return current_.load(std::memory_order_relaxed); }
  task_control* task() const noexcept { return task_.load(std::memory_order_relaxed); }
  activity* running() const noexcept {
    if (activity* f = current()) return f;
    return task();
  }

  // --- This thread's, inside the runtime.
  processor* p = nullptr;        // Null: without a processor.
  worker* next_spare = nullptr;  // Guarded by the spare pool's lock.

 private:
  friend class scheduler;

  void set_current(fiber_control* f) noexcept { current_.store(f, std::memory_order_relaxed); }
  // The next fiber, if it is to be switched to at once. A task runs on the worker's own stack: the loop takes it.
  static fiber_control* pick_fiber(worker& w) noexcept;
  static worker& switch_away(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_amid_exception(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_plainly(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_to_loop(worker& w, after_switch what) noexcept;
  static void give_way_if_asked() noexcept;
  void enter_slow() noexcept;
  void lose_processor() noexcept;
  void check_slice() noexcept;
  void pass_on_processor() noexcept;
  activity* next_to_run() noexcept;
  void run(fiber_control& f) noexcept;
  void run(task_control& t) noexcept;
  void run_coroutines(void* coroutine) noexcept;
  void settle(task_control& t) noexcept;
  void prepare(fiber_control& f) noexcept;
  void bind_stack(fiber_control& f) noexcept;
  static void check_canary(const fiber_control& f) noexcept;
  void after_slow() noexcept;
  void finish_switch() noexcept;
  void publish(activity& a) noexcept;
  void cancel_parked(activity& a, std::uint64_t episode) noexcept;
  void wait_for_processor() noexcept;
  static void fiber_main(void* f);  // Not noexcept: see run_closure().

  std::atomic<std::uint32_t> in_rt_{1};
  std::atomic<std::uint32_t> retake_{none};
  int budget_ = 0;
  const bool light_fence_;     // membarrier works.
  bool yield_wanted_ = false;  // Always without a processor.
  after_switch after_ = after_switch::nothing;
  int entries_left_ = 0;  // Without membarrier, in the place of the budget.
  std::atomic<fiber_control*> current_{nullptr};
  std::atomic<task_control*> task_{nullptr};
  activity* picked_ = nullptr;  // For the loop: picked by a fiber that could not switch to it.
  void* transfer_to_ = nullptr;
  const std::exception_ptr* task_failure_ = nullptr;
  int transfers_left_ = 0;
  waiter* joiner_ = nullptr;  // With retire: who is to be told of the end.
  fiber_control* leaving_ = nullptr;
  context::context ctx_;            // Of the scheduler loop on the thread's own stack.
  context::fp_control fp_control_;  // With which fibers start, whatever the fiber before them has set.
  [[no_unique_address]] context::sanitizer_state sanitizer_;
  exception_state* exceptions_ = nullptr;  // This thread's __cxa_eh_globals,
  int* errno_ = nullptr;                   // and its errno: the compiler would keep either address across a switch.

  std::atomic<std::uint32_t> assigned_{0};  // Futex: 1 once a processor has been assigned or at shutdown.
  processor* given_ = nullptr;
};

// Brackets runtime code that does not switch. `w` is null on foreign threads.
class runtime_section {
 public:
  runtime_section() noexcept : w(this_worker()) {
    if (w) w->enter();
  }
  ~runtime_section() {
    if (w) w->leave();
  }
  runtime_section(const runtime_section&) = delete;
  runtime_section& operator=(const runtime_section&) = delete;

  worker* const w;
};

// The calling fiber, or null on a thread that runs none.
inline fiber_control* current_fiber() noexcept {
  auto* w = this_worker();
  return w ? w->current() : nullptr;
}
inline task_control* current_task() noexcept {
  auto* w = this_worker();
  return w ? w->task() : nullptr;
}
inline activity* current_activity() noexcept {
  auto* w = this_worker();
  return w ? w->running() : nullptr;
}

}  // namespace thrum::sched
