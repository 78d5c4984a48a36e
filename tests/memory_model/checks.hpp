// How the tests ask: that a program holds in all its executions, and that it does not once a mutation has weakened it.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "memory_model/explorer.hpp"

namespace thrum::sched {
class thread_waiter;
}

namespace thrum::memory_model {

// The waiters of the threads, made anew, and the time, which timeouts make go on: for programs whose threads wait as
// plain ones do.
void fresh_waiters();
sched::thread_waiter& waiter_of(std::size_t thread);

// Whether the threads that the library starts run, or are as ones that the system never schedules.
inline bool threads_run = true;

constexpr mutation weakened(const char* function, operation what) {
  return {function, what, mutation::kind::weakened, 0};
}
constexpr mutation left_out(const char* function, operation what, std::uint64_t value = 0) {
  return {function, what, mutation::kind::left_out, value};
}

using set_up = std::function<void(program&)>;

inline void expect_holds(const set_up& p, const limits& l) {
  const auto o = explore(l, p);
  EXPECT_TRUE(o.passed) << o.report;
  EXPECT_TRUE(o.exhausted) << "not all executions have been tried: " << o.executions;
  ::testing::Test::RecordProperty("executions", static_cast<int>(o.executions));
}

// For what is too big to be exhausted: so many executions that are drawn.
inline void expect_holds_at_random(const set_up& p, long executions, limits l = {}) {
  l.seed = 1;
  l.executions = executions;
  const auto o = explore(l, p);
  EXPECT_TRUE(o.passed) << o.report;
}

// The report of the execution that fails.
inline std::string expect_noticed(const set_up& p, const mutation& m, limits l = {}) {
  l.change = m;
  const auto o = explore(l, p);
  EXPECT_GT(o.mutated, 0) << "nothing has been mutated in " << m.function << ": " << o.report;
  EXPECT_FALSE(o.passed) << "nobody notices after " << o.executions << " executions: " << m.function;
  return o.report;
}

inline void expect_lost_wake_up(const set_up& p, const mutation& m, const limits& l = {}) {
  const auto report = expect_noticed(p, m, l);
  EXPECT_NE(report.find("a wake-up is lost"), std::string::npos) << report;
}

}  // namespace thrum::memory_model
