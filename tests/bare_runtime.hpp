// A scheduler built by hand, whose monitor may be in a hurry; what fibers do behind the runtime's back, so that it
// takes their processors away; and a runtime in which that happens to every test, all the time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include <time.h>

#include <thrum/thrum.hpp>

#include "base/rng.hpp"
#include "io/epoll_poller.hpp"
#include "os/clock.hpp"
#include "sched/scheduler.hpp"

namespace thrum::test {

inline void spin(std::chrono::nanoseconds d) {
  const auto end = os::now_ns() + d.count();
  while (os::now_ns() < end) {
  }
}

// A blocking system call that nobody announces.
inline void block(std::chrono::nanoseconds d) {
  timespec t{.tv_sec = d.count() / 1'000'000'000, .tv_nsec = d.count() % 1'000'000'000};
  while (::nanosleep(&t, &t) != 0) {
  }
}

class plain_clock final : public sched::clock_source {
 public:
  std::int64_t now_ns() noexcept override { return os::now_ns(); }
};

class plain_seams final : public sched::seams {
 public:
  explicit plain_seams(sched::pick_policy* policy = nullptr) : policy_(policy) {}
  sched::pick_policy* policy() override { return policy_; }
  sched::clock_source& clock() override { return clock_; }
  std::unique_ptr<sched::random_source> make_random(unsigned index) override {
    return std::make_unique<sched::seeded_source>(base::rng(static_cast<std::uint64_t>(os::now_ns()) + index));
  }
  std::unique_ptr<sched::poller> make_poller() override { return io::make_epoll_poller(); }

 private:
  plain_clock clock_;
  sched::pick_policy* const policy_;
};

// The monitor takes processors away after some tens of microseconds instead of milliseconds.
inline constexpr sched::monitor_pace hurried{.look_ns = 20'000,
                                             .look_calm_ns = 20'000,
                                             .look_idle_ns = 100'000,
                                             .computing_ns = 40'000,
                                             .computing_again_ns = 40'000,
                                             .blocked_ns = 40'000};

class bare_runtime {
 public:
  explicit bare_runtime(const sched::scheduler_options& options, sched::pick_policy* policy = nullptr)
      : scheduler_(options, std::make_unique<plain_seams>(policy)) {}
  ~bare_runtime() {
    while (!scheduler_.quiescent()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

  template <class F>
  void run(F&& f) {
    auto* control = detail::launch(&scheduler_, {}, std::forward<F>(f), std::source_location::current(), false);
    detail::fiber_access::make(control).join();
  }

  sched::scheduler& scheduler() noexcept { return scheduler_; }
  std::uint64_t handoffs() noexcept { return scheduler_.the_monitor().handoffs(); }

 private:
  sched::scheduler scheduler_;
};

// ---------------------------------------------------------------------------------------------------------------

// Fibers that hog longer than a hurried monitor allows: whoever else runs there finds itself on another thread after
// nearly every wait. One more than there are processors, so that work always waits for one. From a fiber.
class moving_crowd {
 public:
  explicit moving_crowd(unsigned processors) : left_(static_cast<int>(processors) + 1) {
    here_ += static_cast<int>(processors) + 1;
    for (unsigned i = 0; i <= processors; ++i) go([this] { hog(); });
  }
  ~moving_crowd() {
    over_ = true;
    const scope shielded{.shield = true};
    left_.wait();
  }
  moving_crowd(const moving_crowd&) = delete;
  moving_crowd& operator=(const moving_crowd&) = delete;

  // How many there are in the process. They never park.
  static int size() noexcept { return here_; }

 private:
  void hog() {
    while (!over_) {
      spin(std::chrono::microseconds(150));
      this_fiber::yield();
    }
    --here_;
    left_.done();
  }

  static inline std::atomic<int> here_{0};
  std::atomic<bool> over_{false};
  wait_group left_;
};

}  // namespace thrum::test
