// A test of many schedules (sim.hpp), for GoogleTest:
//
//   THRUM_SIM_TEST(transfers, keep_the_sum) {
//     …  // The body is a program: it runs as the main fiber, and may use EXPECT and ASSERT.
//   }
//
// EXPECT_TRUE(thrum::sim::holds(program, budget)) says the same with a budget of one's own.
#pragma once

#include <functional>
#include <source_location>

#include <gtest/gtest.h>

#include <thrum/sim.hpp>

namespace thrum::sim {

inline ::testing::AssertionResult holds(const std::function<void()>& program, budget b = {},
                                        std::source_location where = std::source_location::current()) {
  const auto* result = ::testing::UnitTest::GetInstance()->current_test_info()->result();
  b.failed = [result, before = result->total_part_count()] { return result->total_part_count() > before; };
  const verdict v = check(program, b, where);
  return v.passed ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << v.report;
}

}  // namespace thrum::sim

#define THRUM_SIM_TEST(suite, name)                                                    \
  static void thrum_sim_##suite##_##name();                                            \
  TEST(suite, name) { EXPECT_TRUE(::thrum::sim::holds(&thrum_sim_##suite##_##name)); } \
  static void thrum_sim_##suite##_##name()
