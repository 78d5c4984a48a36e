// What retry.hpp promises.
#include <thrum/retry.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class retry_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, retry_test, worker_counts, count_name);

constexpr retry_options quick{.attempts = 5, .first_delay = 10us, .max_delay = 100us};

// Fails so often, then succeeds.
struct fails {
  int times;
  int calls = 0;
  int operator()() {
    if (++calls <= times) throw std::runtime_error("failure " + std::to_string(calls));
    return calls;
  }
};

TEST_P(retry_test, returns_the_first_success) {
  run([] {
    fails f{3};
    EXPECT_EQ(retry(quick, f), 4);
    EXPECT_EQ(f.calls, 4);
    fails at_once{0};
    EXPECT_EQ(retry({}, at_once), 1);
    int calls = 0;
    retry(quick, [&] {
      if (++calls < 2) throw std::runtime_error("once");
    });
    EXPECT_EQ(calls, 2);
  });
}

TEST_P(retry_test, throws_the_last_failure_after_the_last_attempt) {
  run([] {
    fails f{100};
    try {
      retry(quick, f);
      ADD_FAILURE() << "retry did not throw";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "failure 5");
    }
    EXPECT_EQ(f.calls, 5);
    fails once{1};
    EXPECT_THROW(retry({.attempts = 1}, once), std::runtime_error);
    EXPECT_EQ(once.calls, 1);
  });
}

TEST_P(retry_test, the_predicate_decides_what_is_worth_another_attempt) {
  run([] {
    int calls = 0, asked = 0;
    const auto f = [&] {
      if (++calls < 3) throw std::runtime_error("temporary");
      throw std::logic_error("for good");
    };
    EXPECT_THROW(retry(quick, f,
                       [&](const std::exception& e) {
                         ++asked;
                         return dynamic_cast<const std::runtime_error*>(&e) != nullptr;
                       }),
                 std::logic_error);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(asked, 3);
  });
}

TEST_P(retry_test, what_is_no_std_exception_is_not_retried) {
  run([] {
    int calls = 0;
    EXPECT_THROW(retry(quick,
                       [&] {
                         ++calls;
                         throw 42;
                       }),
                 int);
    EXPECT_THROW(retry(quick,
                       [&] {
                         ++calls;
                         throw cancelled{};
                       }),
                 cancelled);
    EXPECT_EQ(calls, 2);
  });
}

TEST_P(retry_test, a_pause_is_a_cancellation_point) {
  run([] {
    fails f{100};
    EXPECT_THROW(with_scope(5ms, [&](scope&) { retry({.first_delay = 24h, .max_delay = 24h, .jitter = 0}, f); }),
                 timed_out);
    EXPECT_EQ(f.calls, 1);
    fails in_vain{100};
    scope s;
    s.cancel();
    EXPECT_THROW(retry({.first_delay = 0s}, in_vain), cancelled);  // Also a pause of no length.
    EXPECT_EQ(in_vain.calls, 1);
  });
}

TEST_P(retry_test, each_attempt_can_have_a_time_limit) {
  run([] {
    int calls = 0;
    EXPECT_THROW(retry({.attempts = 3, .first_delay = 10us},
                       [&] {
                         ++calls;
                         with_scope(1ms, [](scope&) { this_fiber::sleep_for(24h); });
                       }),
                 timed_out);
    EXPECT_EQ(calls, 3);
  });
}

TEST_P(retry_test, pauses_grow_up_to_the_longest) {
  run([] {
    std::vector<clock::time_point> at;
    const auto f = [&] {
      at.push_back(clock::now());
      throw std::runtime_error("always");
    };
    EXPECT_THROW(retry({.attempts = 5, .first_delay = 1ms, .factor = 3, .max_delay = 5ms, .jitter = 0}, f),
                 std::runtime_error);
    EXPECT_GE(at[1] - at[0], 1ms);
    EXPECT_GE(at[2] - at[1], 3ms);
    EXPECT_GE(at[3] - at[2], 5ms);
    EXPECT_GE(at[4] - at[3], 5ms);
    at.clear();
    EXPECT_THROW(retry({.attempts = 3, .first_delay = 4ms, .factor = 1, .jitter = 0.5}, f), std::runtime_error);
    EXPECT_GE(at[1] - at[0], 2ms);
    EXPECT_GE(at[2] - at[1], 2ms);
  });
}

TEST(retry_on_threads, the_thread_sleeps) {
  fails f{2};
  EXPECT_EQ(retry(quick, f), 3);
}

TEST(retry_options_test, what_makes_no_sense_is_refused) {
  fails f{0};
  EXPECT_THROW(retry({.attempts = 0}, f), std::invalid_argument);
  EXPECT_THROW(retry({.first_delay = -1s}, f), std::invalid_argument);
  EXPECT_THROW(retry({.factor = 0.5}, f), std::invalid_argument);
  EXPECT_THROW(retry({.jitter = 1.5}, f), std::invalid_argument);
  EXPECT_EQ(f.calls, 0);
}

}  // namespace
}  // namespace thrum
