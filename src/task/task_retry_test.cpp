// What task_retry.hpp promises.
#include <thrum/task_retry.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_retry_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_retry_test, worker_counts, count_name);

constexpr retry_options quick{.attempts = 5, .first_delay = 10us, .max_delay = 100us};

// Makes tasks of which so many fail; then they succeed.
struct fails {
  int times;
  int& calls;
  task<int> operator()() {
    co_await async_yield();
    if (++calls <= times) throw std::runtime_error("failure " + std::to_string(calls));
    co_return calls;
  }
};

TEST_P(task_retry_test, gives_the_first_success) {
  run([] {
    int calls = 0;
    const auto body = [&]() -> task<int> { co_return co_await async_retry(quick, fails{3, calls}); };
    EXPECT_EQ(spawn(body()).join(), 4);
    EXPECT_EQ(calls, 4);
    calls = 0;
    EXPECT_EQ(spawn(async_retry({}, fails{0, calls})).join(), 1);
    int tries = 0;
    const auto nothing = [&]() -> task<> {
      if (++tries < 2) throw std::runtime_error("once");
      co_return;
    };
    spawn(async_retry(quick, nothing)).join();
    EXPECT_EQ(tries, 2);
    const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    EXPECT_EQ(*spawn(async_retry(quick, own)).join(), 7);
  });
}

TEST_P(task_retry_test, throws_the_last_failure_after_the_last_attempt) {
  run([] {
    int calls = 0;
    try {
      spawn(async_retry(quick, fails{100, calls})).join();
      ADD_FAILURE() << "async_retry did not throw";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "failure 5");
    }
    EXPECT_EQ(calls, 5);
    calls = 0;
    EXPECT_THROW(spawn(async_retry({.attempts = 0}, fails{0, calls})).join(), std::invalid_argument);
    EXPECT_EQ(calls, 0);
  });
}

TEST_P(task_retry_test, the_predicate_decides_what_is_worth_another_attempt) {
  run([] {
    int calls = 0, asked = 0;
    const auto f = [&]() -> task<> {
      if (++calls < 3) throw std::runtime_error("temporary");
      throw std::logic_error("for good");
      co_return;
    };
    const auto again = [&](const std::exception& e) {
      ++asked;
      return dynamic_cast<const std::runtime_error*>(&e) != nullptr;
    };
    EXPECT_THROW(spawn(async_retry(quick, f, again)).join(), std::logic_error);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(asked, 3);
  });
}

TEST_P(task_retry_test, what_is_no_std_exception_is_not_retried) {
  run([] {
    int calls = 0;
    const auto number = [&]() -> task<> {
      ++calls;
      throw 42;
      co_return;
    };
    EXPECT_THROW(spawn(async_retry(quick, number)).join(), int);
    const auto stops = [&]() -> task<int> {
      ++calls;
      throw cancelled{};
      co_return 1;
    };
    EXPECT_THROW(spawn(async_retry(quick, stops)).join(), broken_promise);
    EXPECT_EQ(calls, 2);
  });
}

TEST_P(task_retry_test, a_pause_is_a_cancellation_point) {
  run([] {
    int calls = 0;
    auto t = spawn(async_retry({.first_delay = 24h, .max_delay = 24h, .jitter = 0}, fails{100, calls}));
    settle();
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    EXPECT_LE(calls, 1);
    int in_vain = 0;
    const auto fails_at_once = [&]() -> task<> {
      ++in_vain;
      throw std::runtime_error("always");
      co_return;
    };
    const auto body = [&]() -> task<int> {
      int stopped = 0;
      scope s;
      s.cancel();
      try {
        co_await async_retry({.first_delay = 0s}, fails_at_once);  // Also a pause of no length.
      } catch (const cancelled&) {
        ++stopped;
      }
      co_await s.async_join();
      co_return stopped;
    };
    EXPECT_EQ(spawn(body()).join(), 1);
    EXPECT_EQ(in_vain, 1);
  });
}

TEST_P(task_retry_test, each_attempt_can_have_a_time_limit) {
  run([] {
    int calls = 0;
    const auto limited = [&]() -> task<> {
      ++calls;
      co_await async_with_scope(1ms, [](scope&) -> task<> { co_await async_sleep_for(24h); });
    };
    EXPECT_THROW(spawn(async_retry({.attempts = 3, .first_delay = 10us}, limited)).join(), timed_out);
    EXPECT_EQ(calls, 3);
  });
}

TEST_P(task_retry_test, pauses_grow_up_to_the_longest) {
  run([] {
    std::vector<clock::time_point> at;
    const auto f = [&]() -> task<> {
      at.push_back(clock::now());
      throw std::runtime_error("always");
      co_return;
    };
    const retry_options growing{.attempts = 5, .first_delay = 1ms, .factor = 3, .max_delay = 5ms, .jitter = 0};
    EXPECT_THROW(spawn(async_retry(growing, f)).join(), std::runtime_error);
    EXPECT_GE(at[1] - at[0], 1ms);
    EXPECT_GE(at[2] - at[1], 3ms);
    EXPECT_GE(at[3] - at[2], 5ms);
    EXPECT_GE(at[4] - at[3], 5ms);
  });
}

}  // namespace
}  // namespace thrum
