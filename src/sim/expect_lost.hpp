// What tests of lost wake-ups expect of programs.
#pragma once

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include <thrum/sim.hpp>

namespace thrum::test {

inline ::testing::AssertionResult says(const sim::verdict& v, const std::string& what) {
  if (v.report.find(what) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "no \"" << what << "\" in: " << v.report;
}

inline constexpr const char* sentence =
    "thrum: sim: a wake-up was lost: what is waited for is there, and nobody says so";

inline void expect_lost(const std::function<void()>& program, const std::string& what) {
  const auto v = sim::check(program, {.schedules = 400});
  EXPECT_FALSE(v.passed);
  EXPECT_TRUE(says(v, sentence));
  EXPECT_TRUE(says(v, what));
  EXPECT_TRUE(says(v, "it ends the process with status 2"));
}

inline void expect_well(const std::function<void()>& program, const sim::options& each = {}) {
  const auto v = sim::check(program, {.schedules = 100, .each = each});
  EXPECT_TRUE(v.passed) << v.report;
}

inline void expect_failure_of_another_kind(const std::function<void()>& program) {
  const auto v = sim::check(program, {.schedules = 20});
  EXPECT_FALSE(v.passed);
  EXPECT_EQ(v.report.find("a wake-up was lost"), std::string::npos) << v.report;
}

}  // namespace thrum::test
