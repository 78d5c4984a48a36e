// What the stress tests share: how long to run, numbers of workers, a check that nothing leaked, and crowds.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>
#include <thrum/thrum.hpp>

#include "bare_runtime.hpp"
#include "base/rng.hpp"
#include "context/sanitizer.hpp"
#include "os/clock.hpp"
#include "sched/scheduler.hpp"
#include "simulated_suites.hpp"

namespace thrum::stress {

using namespace std::chrono_literals;
using test::bare_runtime, test::block, test::hurried, test::spin;
using test::simulation, test::simulation_wanted;

#if defined(THRUM_TSAN)
inline constexpr bool slow_build = true;
inline constexpr int scale = 1;
#elif defined(THRUM_ASAN)
inline constexpr bool slow_build = true;
inline constexpr int scale = 3;
#else
inline constexpr bool slow_build = false;
inline constexpr int scale = 10;
#endif

// How long a test repeats its storm: THRUM_STRESS_SECONDS, by default a little under half a second for each
// number of workers. Every storm runs at least once.
inline std::chrono::milliseconds duration() {
  const char* text = std::getenv("THRUM_STRESS_SECONDS");
  return text ? std::chrono::milliseconds(static_cast<long>(std::strtod(text, nullptr) * 1000)) : 400ms;
}

// Calls storm() again and again for that time; once in a simulation, whose schedule must not depend on real time.
template <class Storm>
void repeat(Storm storm) {
  const auto end = std::chrono::steady_clock::now() + duration();
  do storm();
  while (!simulation_wanted() && std::chrono::steady_clock::now() < end && !::testing::Test::HasFailure());
}

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Runs f() as the main fiber; afterwards nothing may be left of it.
template <class F>
void with_workers(unsigned workers, F&& f) {
  if (simulation_wanted()) {
    sim::run(simulation({.decisions_max = 100'000'000}), std::forward<F>(f));
    return;
  }
  const auto descriptors = open_descriptors();
  {
    runtime rt({.workers = workers, .grace = 60s});
    rt.run(std::forward<F>(f));
    // The main fiber's own end and those of detached fibers may still be under way.
    for (int i = 0; i < 60'000 && rt.stats().fibers != 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(rt.stats().fibers, 0u);
  }
  EXPECT_EQ(open_descriptors(), descriptors);
}

// Every stress test is run with each of these numbers of workers.
class stress_test : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(F&& f) {
    with_workers(GetParam(), std::forward<F>(f));
  }
};

#define THRUM_STRESS_SUITE(suite)                                              \
  class suite : public ::thrum::stress::stress_test {};                        \
  INSTANTIATE_TEST_SUITE_P(workers, suite, ::testing::Values(1u, 2u, 4u, 16u), \
                           [](const auto& tested) { return std::to_string(tested.param); })

// A source of random numbers of the calling fiber's own.
class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : rng_(seed * 0x9e3779b97f4a7c15u + 1) { rng_.next(); }
  std::uint32_t below(std::uint32_t bound) noexcept { return rng_.below(bound); }
  bool one_in(std::uint32_t n) noexcept { return below(n) == 0; }

 private:
  base::rng rng_;
};

// ---------------------------------------------------------------------------------------------------------------
// Crowds of fibers, tasks and threads.

// One of the three kinds of waiters, which runs either form of the same work. A simulation has no threads.
template <class Plain, class Async>
class somebody {
 public:
  somebody(unsigned kind, Plain plain, Async async) {
    if (kind % 3 == 0 || (kind % 3 == 2 && simulation_wanted()))
      fiber_ = spawn(plain);
    else if (kind % 3 == 1)
      task_ = spawn(async);
    else
      thread_ = std::thread(plain);
  }
  somebody(somebody&&) noexcept = default;
  void join() {
    if (fiber_.joinable()) fiber_.join();
    if (task_.joinable()) task_.join();
    if (thread_.joinable()) thread_.join();
  }

 private:
  fiber fiber_;
  task_handle<void> task_;
  std::thread thread_;
};

// Calls plain() in fibers and threads, and async(), which makes a task, in tasks; with their number if they take it.
template <class Plain, class Async>
void crowd(unsigned count, Plain plain, Async async) {
  const auto numbered = [](auto& f, unsigned i) {
    if constexpr (std::is_invocable_v<decltype(f), unsigned>)
      return f(i);
    else
      return f();
  };
  const auto one = [&](unsigned i) {
    return somebody(
        i, [&numbered, &plain, i] { numbered(plain, i); }, [&numbered, &async, i] { return numbered(async, i); });
  };
  std::vector<decltype(one(0))> all;
  for (unsigned i = 0; i < count; ++i) all.push_back(one(i));
  for (auto& each : all) each.join();
}

}  // namespace thrum::stress
