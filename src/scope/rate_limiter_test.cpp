// What rate_limiter.hpp promises. Lower bounds of time only: nothing can be too late.
#include <thrum/rate_limiter.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class rate_limiter_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, rate_limiter_test, worker_counts, count_name);

constexpr double hardly_any = 1e-6;  // A unit in eleven days.

TEST_P(rate_limiter_test, a_burst_is_there_at_once_and_no_more) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 5});
    limit.acquire(2);
    EXPECT_TRUE(limit.try_acquire());
    EXPECT_FALSE(limit.try_acquire(3));
    EXPECT_TRUE(limit.try_acquire(2));
    EXPECT_FALSE(limit.try_acquire());
    EXPECT_TRUE(limit.try_acquire(0));
  });
}

TEST_P(rate_limiter_test, the_rate_is_kept) {
  run([] {
    rate_limiter limit({.per_second = 2000, .burst = 1});
    const auto start = clock::now();
    for (int i = 0; i < 21; ++i) limit.acquire();  // The first is there.
    EXPECT_GE(clock::now() - start, 10ms - 1us);
    scope s;
    for (int i = 0; i < 4; ++i)
      s.go([&] {
        for (int k = 0; k < 5; ++k) limit.acquire();
      });
    s.join();
    EXPECT_GE(clock::now() - start, 20ms - 1us);
  });
}

TEST_P(rate_limiter_test, the_bucket_holds_no_more_than_a_burst) {
  run([] {
    rate_limiter limit({.per_second = 1000, .burst = 2});
    this_fiber::sleep_for(10ms);
    const auto start = clock::now();
    for (int i = 0; i < 6; ++i) limit.acquire();
    EXPECT_GE(clock::now() - start, 3ms);  // Four, less what came between the two lines.
  });
}

TEST_P(rate_limiter_test, those_who_wait_are_served_in_order) {
  run([] {
    rate_limiter limit({.per_second = 1000, .burst = 4});
    limit.acquire(4);
    std::atomic<int> turn{0};
    std::vector<int> turns(5);
    scope s;
    for (int i = 0; i < 5; ++i) {
      s.go([&, i] {
        limit.acquire(i == 0 ? 4 : 1);  // Who wants less does not overtake.
        turns[static_cast<std::size_t>(i)] = turn++;
      });
      until_the_others_wait();
    }
    s.join();
    // With several workers the order of the turns may not be that of the acquisitions.
    if (GetParam() == 1) EXPECT_EQ(turns, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_EQ(turn, 5);
  });
}

TEST_P(rate_limiter_test, a_cancelled_acquire_has_taken_nothing) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 3});
    EXPECT_TRUE(limit.try_acquire(1));
    {
      scope s;
      s.go([&] { limit.acquire(3); });  // First of those who wait,
      until_the_others_wait();
      s.go([&] { limit.acquire(1); });  // and behind it.
      until_the_others_wait();
      EXPECT_FALSE(limit.try_acquire(1));
      s.cancel();
      s.join();
    }
    EXPECT_TRUE(limit.try_acquire(2));
    EXPECT_FALSE(limit.try_acquire(1));
  });
}

TEST_P(rate_limiter_test, when_the_first_gives_up_the_next_is_served) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 3});
    EXPECT_TRUE(limit.try_acquire(1));
    fiber first = spawn([&] { limit.acquire(3); });
    until_the_others_wait();
    fiber next = spawn([&] { limit.acquire(2); });
    until_the_others_wait();
    first.request_stop();
    first.join();
    next.join();
    EXPECT_FALSE(limit.try_acquire(1));
  });
}

TEST_P(rate_limiter_test, in_a_cancelled_scope_throws_even_if_there_is_enough) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 1});
    {
      scope s;
      s.cancel();
      EXPECT_THROW(limit.acquire(), cancelled);
      EXPECT_THROW(limit.try_acquire_for(1s), cancelled);
    }
    EXPECT_TRUE(limit.try_acquire());
  });
}

TEST_P(rate_limiter_test, a_timed_acquire_gives_up) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 2});
    EXPECT_TRUE(limit.try_acquire_for(0s));
    EXPECT_FALSE(limit.try_acquire_for(24h, 2));  // At once: they come too late.
    fiber holder = spawn([&] { limit.acquire(2); });
    until_the_others_wait();
    EXPECT_FALSE(limit.try_acquire_until(clock::now() + 1ms));
    holder.request_stop();
    holder.join();
    EXPECT_TRUE(limit.try_acquire_until(clock::now() + 1s));
    rate_limiter quick({.per_second = 1000, .burst = 1});
    quick.acquire();
    EXPECT_TRUE(quick.try_acquire_for(10s));
  });
}

TEST_P(rate_limiter_test, threads_wait_too) {
  run([] {
    rate_limiter limit({.per_second = 2000, .burst = 1});
    std::atomic<int> got{0};
    std::thread t([&] {
      for (int i = 0; i < 10; ++i) {
        limit.acquire();
        ++got;
      }
    });
    for (int i = 0; i < 10; ++i) limit.acquire();
    EXPECT_TRUE(eventually([&] { return got == 10; }));
    t.join();
  });
}

TEST(rate_limiter_options_test, what_would_never_work_is_refused) {
  EXPECT_THROW(rate_limiter({.per_second = 0}), std::invalid_argument);
  EXPECT_THROW(rate_limiter({.per_second = -1}), std::invalid_argument);
  EXPECT_THROW(rate_limiter({.per_second = 1.0 / 0.0}), std::invalid_argument);
  EXPECT_THROW(rate_limiter({.per_second = 1, .burst = 0}), std::invalid_argument);
  rate_limiter limit({.per_second = 1e-300, .burst = 2});
  EXPECT_THROW(limit.acquire(3), std::invalid_argument);
  EXPECT_THROW(limit.try_acquire(3), std::invalid_argument);
  EXPECT_TRUE(limit.try_acquire(2));
  EXPECT_FALSE(limit.try_acquire_for(std::chrono::milliseconds(1)));  // So slow that its units never come.
}

TEST_P(rate_limiter_test, storm_of_acquisitions_and_cancellations) {
  run([] {
    rate_limiter limit({.per_second = 1e5, .burst = 4});
    std::atomic<int> got{0};
    const auto start = clock::now();
    scope s;
    for (int i = 0; i < 8; ++i)
      s.go([&, i] {
        for (int k = 0; k < 40; ++k) try {
            with_scope(std::chrono::microseconds(k * 7), [&](scope&) {
              limit.acquire(static_cast<std::size_t>(1 + i % 4));
              got += 1 + i % 4;
            });
          } catch (const timed_out&) {
          }
      });
    s.join();
    const auto took = std::chrono::duration<double>(clock::now() - start).count();
    EXPECT_LE(got, 4 + took * 1e5 + 1);
  });
}

}  // namespace
}  // namespace thrum
