// The worker: an OS thread that runs fibers and tasks while it holds a processor. hand_off.hpp is how it loses one.
//
// A worker that has lost its processor goes on with its fiber as a foreign thread would: wakes and spawns go to the
// global queue. At the fiber's next call that may suspend, the fiber is queued for a processor and the thread parks
// in the pool of spare threads.
#pragma once

#include <cstdint>
#include <exception>

#include <pthread.h>

#include <thrum/detail/atomic.hpp>

#include "base/assert.hpp"
#include "context/context.hpp"
#include "sched/fiber_control.hpp"
#include "sched/hand_off.hpp"
#include "sched/seams.hpp"
#include "sched/self.hpp"
#include "sched/task_control.hpp"

namespace thrum::sched {

class scheduler;
class processor;
struct stall_note;

// What to do with the fiber that has just been left, once its context is saved; or with a task, once its coroutine is
// suspended.
enum class after_switch : std::uint8_t { nothing, park, park_timed, yield, yield_global, retire };

class alignas(64) worker {
 public:
  // Workers ask the kernel for short turns, so that they get the core back quickly beside threads that lost their
  // processor, which keep the kernel's default.
  static constexpr std::int64_t worker_slice_ns = 500'000;

  // `p` null: a spare one.
  worker(scheduler& home, bool light_fence, processor* p) noexcept
      : home(home), p(p), hand_off_(number_of(p)), light_fence_(light_fence) {}

  // --- Entering and leaving the runtime; by this worker's thread.
  void enter() noexcept {
    hand_off_.enter();
    // Without membarrier the budget is always used up: see enter_slow().
    if (--budget_ < 0 || hand_off_.requested()) [[unlikely]]
      enter_slow();
  }
  void leave() noexcept {
    THRUM_ASSERT(owns_its_processor());
    hand_off_.leave();
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
  bool wants_slow_entry() noexcept { return --budget_ < 0 || hand_off_.may_be_requested(); }
  bool should_yield() const noexcept { return yield_wanted_; }
  bool is_preempted() const noexcept;  // By the pick policy.

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

  // --- The monitor's side of the protocol. The fiber is to give way at its next call that may suspend.
  void ask_to_give_way(const processor& from) noexcept;
  // True: the caller now owns the processor, which was this worker's.
  bool try_retake(const processor& from) noexcept;
  // Moves what is in the LIFO slot to where all can see it, unless the worker is in the runtime.
  void expose_lifo(processor& of) noexcept;
  bool in_runtime() const noexcept { return hand_off_.in_runtime(); }

  // What it runs has lost a processor before. Should it end meanwhile, its block stays readable.
  bool hogged_before() const noexcept {
    const activity* a = running_there();
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
  detail::atomic<pid_t> tid{0};

  // The fiber, or the task, that it runs. Written by this thread; the monitor reads.
  fiber_control* current() const noexcept { return current_.load(std::memory_order_relaxed); }
  task_control* task() const noexcept { return task_.load(std::memory_order_relaxed); }
  activity* running() const noexcept {
    if (activity* f = current()) return f;
    return task();
  }
  // The same, for other threads that read what its block says: that has been made before. Pairs with set_current() and
  // run(task_control&).
  const activity* running_there() const noexcept {
    if (const activity* f = current_.load(std::memory_order_acquire)) return f;
    return task_.load(std::memory_order_acquire);
  }

  // --- For those who look at stuck threads.
  detail::atomic<stall_note*> stalled{nullptr};    // See stall_watch.hpp.
  detail::atomic<std::int64_t> stuck_since_ns{0};  // Without a processor: when its fiber began; otherwise 0.
  detail::atomic<bool> sits_in_kernel{false};      // Stuck: as the monitor saw the thread last.
  const void* stack_top() const noexcept { return stack_top_; }

  // --- This thread's, inside the runtime.
  processor* p;  // Null: without a processor.

  // --- Guarded by the scheduler's threads_lock_.
  bool spare = false;
  worker* next_spare = nullptr;
  runnable_batch inbox;  // Runnable fibers that are pinned to this thread, found by others; empty while spare.
  detail::atomic<bool> has_mail{false};  // There are any; may be read without the lock.

 private:
  friend class scheduler;

  static std::uint32_t number_of(const processor* p) noexcept;  // For the hand-off.

  void set_current(fiber_control* f) noexcept { current_.store(f, std::memory_order_release); }  // running_there()
  // The next fiber, if it is to be switched to at once. A task runs on the worker's own stack, and a pinned fiber may
  // have to run elsewhere: the loop takes them.
  static fiber_control* pick_fiber(worker& w) noexcept;
  static worker& switch_away(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_amid_exception(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_plainly(worker& w, after_switch what, fiber_control* next) noexcept;
  static worker& switch_to_loop(worker& w, after_switch what) noexcept;
  static void give_way_if_asked() noexcept;
  void enter_slow() noexcept;
  void lose_processor() noexcept;
  void prepare_slow(fiber_control& f) noexcept;
  void do_without_processor() noexcept;
  void judge_blocker(activity& a) noexcept;
  void check_slice() noexcept;
  void pass_on_processor() noexcept;
  void give_processor_to(worker& other) noexcept;
  activity* next_to_run() noexcept;
  void run(activity& a) noexcept;
  void run(fiber_control& f) noexcept;
  void run(task_control& t) noexcept;
  void run_coroutines(void* coroutine) noexcept;
  void settle(task_control& t) noexcept;
  void prepare(fiber_control& f) noexcept;
  void bind_stack(fiber_control& f) noexcept;
  static void check_canary(const fiber_control& f) noexcept;
  void after_slow() noexcept;
  void finish_switch() noexcept;
  void publish(activity& a, bool timed) noexcept;
  void wait_for_processor() noexcept;
  static void fiber_main(void* f);  // Not noexcept: see run_closure().

  hand_off hand_off_;
  int budget_ = 0;
  const void* stack_top_ = nullptr;  // Of the thread's own stack, where tasks run. Constant once it runs.
  const bool light_fence_;           // membarrier works.
  bool yield_wanted_ = false;        // Always without a processor.
  after_switch after_ = after_switch::nothing;
  int entries_left_ = 0;  // Without membarrier, in the place of the budget.
  detail::atomic<fiber_control*> current_{nullptr};
  detail::atomic<task_control*> task_{nullptr};
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

  detail::atomic<std::uint32_t> assigned_{0};  // Futex: 1 once a processor has been assigned or at shutdown.
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
