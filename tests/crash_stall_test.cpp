// What the monitor says on standard error about stuck threads, word for word, in child processes.
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>

#include "crash_support.hpp"

namespace thrum {
namespace {

using namespace test;

void compute_until(const std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) {
  }
}

// Until the runtime has seen it, and a moment longer.
void stall_until(const std::function<bool(runtime&)>& seen) {
  runtime rt({.workers = 1});
  rt.run([&] {
    std::atomic<bool> over{false};
    fiber hog = spawn({.name = "hog"}, [&] { compute_until(over); });
    eventually([&] { return seen(rt); });
    over = true;
  });
}

void log_by_environment() {
  ::setenv("THRUM_STALL_LOG", "20ms", 1);
  stall_until([](runtime& rt) { return rt.stats().stalls > 0; });
}
const scenario logged("stall_logged", log_by_environment);
TEST(stall_messages, the_environment_switches_the_log_on) {
  const auto d = run_scenario(logged);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_TRUE(says(d, "thrum: stall 1: " + fiber_pattern("hog") + " has computed for [0-9.]+ ms on thread [0-9]+\n"))
      << d.errors;
  EXPECT_TRUE(says(d, "thrum: stall 1: " + fiber_pattern("hog") +
                          " went on after [0-9.]+ ms on thread [0-9]+: [0-9.]+ ms computing, [0-9.]+ ms blocked[^\n]*"
                          ", its processor handed over\n"))
      << d.errors;
}

void misunderstood_environment() {
  ::setenv("THRUM_STALL_LOG", "often", 1);
  try {
    runtime rt;
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::exit(0);
  }
  std::exit(1);
}
const scenario misunderstood("stall_misunderstood", misunderstood_environment);
TEST(stall_messages, a_limit_that_is_not_understood_is_refused) {
  const auto d = run_scenario(misunderstood);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_TRUE(says(d, "THRUM_STALL_LOG is 'often'; it must be a duration")) << d.errors;
}

// Ten threads, eight of them held: the warning comes before the cap, and names who holds them.
void hold_threads(unsigned hogs, bool* capped) {
  runtime rt({.workers = 1, .threads_max = 10});
  rt.run([&] {
    std::atomic<bool> over{false};
    scope s;
    for (unsigned i = 0; i < hogs; ++i) s.go([&] { compute_until(over); });
    *capped = !eventually([&] { return rt.stats().threads_stuck == hogs; });
    over = true;
    s.join();
    EXPECT_EQ(rt.stats().threads_max, 10u);
  });
  if (!eventually([&] { return rt.stats().threads_stuck == 0; })) std::exit(1);
}
const scenario crowded("stall_crowded", [] {
  bool capped = false;
  hold_threads(8, &capped);
  if (capped) std::exit(1);
});
TEST(stall_messages, a_warning_comes_before_the_cap_on_threads) {
  const auto d = run_scenario(crowded);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_TRUE(
      says(d,
           "thrum: warning: [89] of at most 10 threads are in use; at the cap no further processor can be handed "
           "over\n    for [0-9]+ ms thread [0-9]+ has been held by fiber [0-9]+ "))
      << d.errors;
  EXPECT_FALSE(says(d, "all 10 threads are in use")) << d.errors;
}

void dump_beside_a_hog() {
  stall_until([](runtime& rt) {
    if (rt.stats().threads_stuck == 0) return false;
    rt.dump();
    return true;
  });
}
const scenario dumped("stall_dumped", dump_beside_a_hog);
TEST(stall_messages, a_dump_shows_who_holds_threads) {
  const auto d = run_scenario(dumped);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_TRUE(says(d,
                   "[0-9]+ threads of at most 4096, [0-9]+ of them spare\n"
                   "    for [0-9]+ ms thread [0-9]+ has been held by " +
                       fiber_pattern("hog")))
      << d.errors;
}

}  // namespace
}  // namespace thrum
