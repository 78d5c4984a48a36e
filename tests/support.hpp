// What tests of running programs share: a runtime of so many workers around a function, with the check afterwards
// that nothing leaked, and waiting for a condition without trusting the clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thrum/thrum.hpp>

#include "bare_runtime.hpp"
#include "sched/scheduler.hpp"
#include "simulated_suites.hpp"

namespace thrum::test {

using namespace std::chrono_literals;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool under_tsan = true;
#define THRUM_TEST_TSAN_KNOWN
#endif
#endif
#if !defined(THRUM_TEST_TSAN_KNOWN)
#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif
#endif

// Nothing passes or fails by time: this only ends a test that hangs.
inline constexpr auto hang_guard = 60s;

// Long enough for another fiber to have parked in nearly every run. Tests stay correct when it has not, as on a crowded
// machine: with THRUM_TEST_HASTY set a moment is no time, and all must pass.
inline const std::chrono::nanoseconds a_moment = std::getenv("THRUM_TEST_HASTY") != nullptr ? 0ns : 2ms;

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Beyond this limit there are no descriptors for the process; the ones that it has stay open.
class descriptor_limit {
 public:
  explicit descriptor_limit(std::size_t limit) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit tight = before_;
    tight.rlim_cur = limit;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  ~descriptor_limit() { lift(); }
  void lift() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_;
};

inline auto bytes(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }

// Of the std::system_error that f throws; none.
template <class F>
std::error_code code_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

// Waits, on a fiber or on a thread, until the condition holds. False when it never does.
template <class Condition>
bool eventually(Condition holds) {
  const auto give_up = std::chrono::steady_clock::now() + hang_guard;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    if (this_fiber::in_fiber())
      this_fiber::sleep_for(200us);
    else
      std::this_thread::sleep_for(200us);
  }
  return true;
}

// On a fiber: whether every other fiber and task of the runtime is parked, but for a crowd that moves the others.
inline bool others_wait() {
  const auto* const self = sched::current_fiber();
  const int crowd = moving_crowd::size();
  int running = 0;
  self->home->for_each_alive(
      [&](const sched::activity& a) { running += &a != self && (a.word() & sched::waiter::parked_bit) == 0; });
  return running <= crowd;
}
// For tests that need it indeed.
inline void until_the_others_wait() { EXPECT_TRUE(eventually(others_wait)); }

// Lets the others come to rest, unless some never do. With THRUM_TEST_HASTY set it does not: no test may count on it.
inline void settle() {
  if (a_moment == 0ns || !this_fiber::in_fiber()) return this_fiber::sleep_for(a_moment);
  const auto give_up = clock::now() + 20 * a_moment;
  do {
    this_fiber::sleep_for(a_moment / 10);
  } while (!others_wait() && clock::now() < give_up);
}

inline void expect_no_more_descriptors_than(std::size_t before) {
  // Not at once: a starting thread of the test may have one for a moment.
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; })) << "descriptors are left";
}

// Runs f(runtime&) as the main fiber of a runtime, and checks that no fiber, timer or descriptor is left.
template <class F>
void with_runtime(runtime_options options, F&& f) {
  const auto before = open_descriptors();
  {
    runtime rt(options);
    rt.run([&] { f(rt); });
    EXPECT_TRUE(eventually([&] { return rt.stats().fibers == 0; })) << rt.stats().fibers << " fibers are left";
    EXPECT_EQ(rt.stats().timers, 0u) << "timers are left";
  }
  expect_no_more_descriptors_than(before);
}

// The same where processors change hands all the time.
template <class F>
void with_moving_fibers(unsigned processors, F&& f) {
  const auto before = open_descriptors();
  {
    bare_runtime rt({.processors = processors, .pace = hurried});
    rt.run([&] {
      const moving_crowd crowd(processors);
      EXPECT_TRUE(eventually([&] { return rt.handoffs() > 0; })) << "nobody is moved";
      f();
    });
    EXPECT_TRUE(eventually([&] { return rt.scheduler().quiescent(); })) << "fibers are left";
  }
  expect_no_more_descriptors_than(before);
}

// With THRUM_TEST_SIM set, in a simulation instead; with THRUM_TEST_MOVED set, on threads that change.
template <class F>
void with_workers(unsigned n, F&& f) {
  if (simulation_wanted())
    sim::run(simulation({.one_in_interrupted = 10}), [&] { f(); });
  else if (std::getenv("THRUM_TEST_MOVED"))
    with_moving_fibers(n, std::forward<F>(f));
  else
    with_runtime({.workers = n}, [&](runtime&) { f(); });
}

// A suite whose tests run with 1, 2 and 4 workers: INSTANTIATE_TEST_SUITE_P(workers, suite, worker_counts, count_name).
class on_workers : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(F&& f) {
    with_workers(GetParam(), std::forward<F>(f));
  }
};
inline const auto worker_counts = ::testing::Values(1u, 2u, 4u);
inline std::string count_name(const ::testing::TestParamInfo<unsigned>& info) { return std::to_string(info.param); }

}  // namespace thrum::test
