// A scheduler for programs: as it is, but for clock, random source and poller. Its workers are modelled threads.
#pragma once

#include <algorithm>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <utility>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"
#include "os/clock.hpp"
#include "sched/fiber_end.hpp"
#include "sched/lifecycle.hpp"
#include "sched/scheduler.hpp"

namespace thrum::memory_model {

// A task: runs a function on whatever worker resumes it.
struct coroutine {
  struct promise_type {
    struct ending {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) const noexcept {
        sched::this_worker()->plan_end(h.address(), nullptr);
      }
      void await_resume() const noexcept {}
    };
    coroutine get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    ending final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<> handle;

  static coroutine of(std::function<void()> body) {
    body();
    co_return;
  }
};

// ---------------------------------------------------------------------------------------------------------------
// The seams. What a processor's owner alone may use, or the one who has locked the poller, is plain.

class model_clock final : public sched::clock_source {
 public:
  std::int64_t now_ns() noexcept override { return os::now_ns(); }
};

class first_victim final : public sched::random_source {
 public:
  std::uint64_t next() noexcept override {
    used_.set(true);
    return 0;
  }

 private:
  plain<bool> used_;
};

class model_poller final : public sched::poller {
 public:
  int watch(int, sched::fd_watch&) noexcept override { return 0; }
  void forget(sched::fd_watch&) noexcept override {}
  void wait(std::int64_t deadline_ns, std::int64_t now_ns, sched::runnable_batch&) noexcept override {
    waited_.set(true);
    while (woken_.exchange(0, std::memory_order_relaxed) == 0 && deadline_ns > now_ns) {
      if (memory_model::wait(&woken_, 0, deadline_ns != sched::never)) continue;
      os::time_ns = std::max(os::time_ns, deadline_ns);
      return;
    }
  }
  void wake() noexcept override {
    woken_.exchange(1, std::memory_order_relaxed);  // The kernel's calls are in one order.
    memory_model::wake(&woken_, 1);
  }
  std::size_t watched() const noexcept override { return 0; }

 private:
  plain<bool> waited_;
  detail::atomic<std::uint32_t> woken_{0};
};

class model_seams final : public sched::seams {
 public:
  sched::clock_source& clock() override { return clock_; }
  std::unique_ptr<sched::random_source> make_random(unsigned) override { return std::make_unique<first_victim>(); }
  std::unique_ptr<sched::poller> make_poller() override { return std::make_unique<model_poller>(); }

 private:
  model_clock clock_;
};

struct machine {
  explicit machine(unsigned processors, bool membarrier = true)
      : home(std::make_unique<sched::scheduler>(
            sched::scheduler_options{.processors = processors, .membarrier = membarrier, .monitored = false},
            std::make_unique<model_seams>())) {}

  // --- Tasks.
  sched::task_control& create(std::function<void()> body = [] {}) {
    return home->create_task(coroutine::of(std::move(body)).handle.address(), std::source_location::current());
  }
  sched::task_control& start(std::function<void()> body) {
    auto& t = create(std::move(body));
    home->start(t);
    return t;
  }
  void join(sched::task_control& t) {
    sched::join(t, sched::never, true);
    std::coroutine_handle<>::from_address(t.resume_point).destroy();
    home->release(t);
  }
  void abandon(sched::task_control& t) {
    std::coroutine_handle<>::from_address(t.resume_point).destroy();
    home->abandon(t);
  }

  // --- Fibers.
  sched::fiber_control& start_fiber(std::function<void()> body) {
    auto& f = home->create({.closure_size = sizeof body,
                            .closure_align = alignof(std::function<void()>),
                            .name = {},
                            .where = std::source_location::current()});
    new (f.closure) std::function<void()>(std::move(body));
    f.run = [](void* closure) {
      auto& own = *static_cast<std::function<void()>*>(closure);
      own();
      std::destroy_at(&own);
    };
    home->start(f);
    return f;
  }
  void join(sched::fiber_control& f) {
    sched::join(f, sched::never, true);
    home->release(f);
  }

  void shut_down() { home.reset(); }

  std::unique_ptr<sched::scheduler> home;
};

// At the beginning of a program.
inline void new_machines() {
  fresh_waiters();
  threads_run = true;
}

}  // namespace thrum::memory_model
