// What rate_limiter.hpp promises to tasks, alone and among fibers and threads. Lower bounds of time only.
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

class task_rate_limiter_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_rate_limiter_test, worker_counts, count_name);

constexpr double hardly_any = 1e-6;  // A unit in eleven days.

TEST_P(task_rate_limiter_test, a_burst_is_there_at_once_and_no_more) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 5});
    const auto body = [&]() -> task<> {
      co_await limit.async_acquire(2);
      EXPECT_TRUE(limit.try_acquire());
      const bool too_many = co_await limit.async_try_acquire_for(24h, 3);  // At once: they come too late.
      EXPECT_FALSE(too_many);
      const bool the_rest = co_await limit.async_try_acquire_for(0s, 2);
      EXPECT_TRUE(the_rest);
      const bool one = co_await limit.async_try_acquire_until(clock::now() + 24h);
      EXPECT_FALSE(one);
      co_await limit.async_acquire(0);
    };
    spawn(body()).join();
    EXPECT_THROW(spawn(limit.async_acquire(6)).join(), std::invalid_argument);
    EXPECT_THROW(spawn(limit.async_try_acquire_for(0s, 6)).join(), std::invalid_argument);
  });
}

TEST_P(task_rate_limiter_test, the_rate_is_kept_among_tasks_fibers_and_threads) {
  run([] {
    rate_limiter limit({.per_second = 2000, .burst = 1});
    const auto start = clock::now();
    scope s;
    for (int i = 0; i < 4; ++i) {
      go_in(s, [](rate_limiter& l) -> task<> {
        for (int k = 0; k < 5; ++k) co_await l.async_acquire();
      }(limit));
      s.go([&] {
        for (int k = 0; k < 5; ++k) limit.acquire();
      });
    }
    std::atomic<bool> done{false};
    std::thread t([&] {
      limit.acquire();
      done = true;
    });
    s.join();
    EXPECT_TRUE(eventually([&] { return done.load(); }));
    t.join();
    EXPECT_GE(clock::now() - start, 20ms - 1us);  // 41 units, of which the first was there.
  });
}

// They may arrive, and note their turn, in another order than they were started in: not every time.
TEST_P(task_rate_limiter_test, fibers_and_tasks_are_served_in_the_order_of_their_arrival) {
  run([] {
    const auto in_order = [] {
      rate_limiter limit({.per_second = 1000, .burst = 4});
      limit.acquire(4);
      guarded<std::vector<int>> order;
      scope s;
      for (int i = 0; i < 6; ++i) {
        const std::size_t units = i == 0 ? 4 : 1;  // Who wants less does not overtake.
        if (i % 2 == 0)
          go_in(s, [](rate_limiter& l, guarded<std::vector<int>>& log, int n, std::size_t wanted) -> task<> {
            co_await l.async_acquire(wanted);
            auto mine = co_await log.async_lock();
            mine->push_back(n);
          }(limit, order, i, units));
        else
          s.go([&, i, units] {
            limit.acquire(units);
            order.lock()->push_back(i);
          });
        this_fiber::sleep_for(200us);
      }
      s.join();
      EXPECT_EQ(order.lock()->size(), 6u);
      return *order.lock() == std::vector<int>{0, 1, 2, 3, 4, 5};
    };
    int attempts = 1;
    while (!in_order()) ASSERT_LT(++attempts, 100);
  });
}

TEST_P(task_rate_limiter_test, a_cancelled_acquire_has_taken_nothing) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 3});
    EXPECT_TRUE(limit.try_acquire(1));
    {
      scope s;
      go_in(s, limit.async_acquire(3));  // First of those who wait,
      until_the_others_wait();
      go_in(s, limit.async_acquire(1));  // and behind it.
      until_the_others_wait();
      EXPECT_FALSE(limit.try_acquire(1));
      s.cancel();
      s.join();
    }
    EXPECT_TRUE(limit.try_acquire(2));
    EXPECT_FALSE(limit.try_acquire(1));
  });
}

TEST_P(task_rate_limiter_test, when_the_first_gives_up_the_next_is_served) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 3});
    EXPECT_TRUE(limit.try_acquire(1));
    auto first = spawn(limit.async_acquire(3));
    until_the_others_wait();
    fiber next = spawn([&] { limit.acquire(1); });
    until_the_others_wait();
    auto last = spawn(limit.async_acquire(1));
    until_the_others_wait();
    first.request_stop();
    first.join();
    next.join();
    last.join();
    EXPECT_FALSE(limit.try_acquire(1));
  });
}

TEST_P(task_rate_limiter_test, in_a_cancelled_scope_throws_even_if_there_is_enough) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 1});
    const auto body = [&]() -> task<int> {
      int thrown = 0;
      scope s;
      s.cancel();
      try {
        co_await limit.async_acquire();
      } catch (const cancelled&) {
        ++thrown;
      }
      try {
        (void)co_await limit.async_try_acquire_for(1s);
      } catch (const cancelled&) {
        ++thrown;
      }
      co_await s.async_join();
      co_return thrown;
    };
    EXPECT_EQ(spawn(body()).join(), 2);
    EXPECT_TRUE(limit.try_acquire());
  });
}

TEST_P(task_rate_limiter_test, a_timed_acquire_gives_up_behind_others_and_succeeds_in_time) {
  run([] {
    rate_limiter limit({.per_second = hardly_any, .burst = 2});
    EXPECT_TRUE(limit.try_acquire());
    auto holder = spawn(limit.async_acquire(2));
    EXPECT_TRUE(eventually([&] { return !limit.try_acquire(0); }));  // It waits.
    EXPECT_FALSE(spawn(limit.async_try_acquire_for(1ms)).join());
    holder.request_stop();
    holder.join();
    EXPECT_TRUE(spawn(limit.async_try_acquire_for(1s)).join());
    rate_limiter quick({.per_second = 1000, .burst = 1});
    quick.acquire();
    EXPECT_TRUE(spawn(quick.async_try_acquire_for(24h)).join());
  });
}

TEST_P(task_rate_limiter_test, storm_of_acquisitions_and_cancellations) {
  run([] {
    rate_limiter limit({.per_second = 1e5, .burst = 4});
    std::atomic<std::size_t> got{0};
    const auto start = clock::now();
    scope s;
    for (std::size_t i = 0; i < 8; ++i) {
      const auto units = 1 + i % 4;
      go_in(s, [](rate_limiter& l, std::atomic<std::size_t>& sum, std::size_t wanted) -> task<> {
        for (int k = 0; k < 40; ++k) {
          const auto body = [&](scope&) -> task<> {
            co_await l.async_acquire(wanted);
            sum += wanted;
          };
          try {
            co_await async_with_scope(std::chrono::microseconds(k * 7), body);
          } catch (const timed_out&) {
          }
          const bool in_time = co_await l.async_try_acquire_for(std::chrono::microseconds(k * 5), wanted);
          if (in_time) sum += wanted;
        }
      }(limit, got, units));
      s.go([&, units] {
        for (int k = 0; k < 40; ++k) try {
            with_scope(std::chrono::microseconds(k * 7), [&](scope&) {
              limit.acquire(units);
              got += units;
            });
          } catch (const timed_out&) {
          }
      });
    }
    s.join();
    const auto took = std::chrono::duration<double>(clock::now() - start).count();
    EXPECT_LE(static_cast<double>(got), 4 + took * 1e5 + 1);
  });
}

}  // namespace
}  // namespace thrum
