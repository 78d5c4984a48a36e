// What worker_pool.hpp promises to tasks, alone and among fibers.
#include <thrum/worker_pool.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_worker_pool_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_worker_pool_test, worker_counts, count_name);

TEST_P(task_worker_pool_test, a_task_may_own_it_and_joins_what_it_submitted) {
  run([] {
    std::atomic<int> done{0}, running{0}, most{0};
    const auto job = [&] {
      const int now = ++running;
      for (int m = most; now > m && !most.compare_exchange_weak(m, now);) {
      }
      this_fiber::sleep_for(50us);
      --running;
      ++done;
    };
    const auto body = [&]() -> task<> {
      worker_pool pool({.fibers = 3, .queue = 2});
      for (int i = 0; i < 100; ++i) co_await pool.async_submit(job);
      co_await pool.async_join();
      EXPECT_EQ(done, 100);
      co_await pool.async_join();  // Again is harmless.
      pool.cancel();
    };
    spawn(body()).join();
    EXPECT_LE(most, 3);
  });
}

TEST_P(task_worker_pool_test, submitting_waits_for_room_in_one_queue_with_fibers) {
  run([] {
    event go_on;
    guarded<std::vector<int>> order;
    worker_pool pool({.fibers = 1, .queue = 0});
    pool.submit([&] { go_on.wait(); });
    scope s;
    const auto submit = [&](int n) -> task<> {
      co_await pool.async_submit([&order, n] { order.lock()->push_back(n); });
    };
    for (int i = 0; i < 6; ++i) {
      if (i % 2 == 0)
        go_in(s, submit(i));
      else
        s.go([&, i] { pool.submit([&order, i] { order.lock()->push_back(i); }); });
      settle();
    }
    EXPECT_TRUE(order.lock()->empty());
    go_on.set();
    s.join();
    pool.join();
    // With several workers the order of the lines above may not be that of the submissions.
    if (GetParam() == 1) EXPECT_EQ(*order.lock(), (std::vector<int>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(order.lock()->size(), 6u);
  });
}

TEST_P(task_worker_pool_test, futures_hand_on_results_and_exceptions) {
  run([] {
    const auto body = [&]() -> task<> {
      worker_pool pool({.fibers = 2});
      auto forty = std::make_unique<int>(40);
      const auto add = [](int a, std::unique_ptr<int> b) { return a + *b; };
      auto waiting = pool.async_future(add, 2, std::move(forty));
      auto sum = co_await waiting;
      const auto fails = []() -> int { throw std::runtime_error("expected"); };
      auto failing = co_await pool.async_future(fails);
      const auto nothing = [] {};
      auto empty = co_await pool.async_future(nothing);
      const int got = co_await sum.async_get();
      EXPECT_EQ(got, 42);
      int thrown = 0;
      try {
        (void)co_await failing.async_get();
      } catch (const std::runtime_error&) {
        ++thrown;
      }
      EXPECT_EQ(thrown, 1);
      co_await empty.async_get();
      co_await pool.async_join();
    };
    spawn(body()).join();
  });
}

TEST_P(task_worker_pool_test, a_cancelled_submission_queues_nothing) {
  run([] {
    event go_on;
    std::atomic<int> ran{0};
    auto held = std::make_shared<int>(0);
    worker_pool pool({.fibers = 1, .queue = 0});
    pool.submit([&] { go_on.wait(); });
    const auto count = [&ran, held] { ++ran; };
    const auto submit = [&]() -> task<> { co_await pool.async_submit(count); };
    const auto call = [&]() -> task<int> {
      auto f = co_await pool.async_future(count);
      co_await f.async_get();
      co_return 1;
    };
    auto first = spawn(submit());
    auto second = spawn(call());
    settle();
    first.request_stop();
    second.request_stop();
    first.join();
    EXPECT_THROW(second.join(), broken_promise);
    EXPECT_EQ(held.use_count(), 2);
    go_on.set();
    const auto in_vain = [&]() -> task<int> {
      scope s;
      s.cancel();
      int thrown = 0;
      try {
        co_await pool.async_submit(count);
      } catch (const cancelled&) {
        ++thrown;
      }
      co_await s.async_join();
      co_return thrown;
    };
    EXPECT_EQ(spawn(in_vain()).join(), 1);
    pool.submit([] {});  // Its room was given back.
    pool.join();
    EXPECT_EQ(ran, 0);
  });
}

TEST_P(task_worker_pool_test, a_closed_pool_refuses_also_those_who_wait) {
  run([] {
    event go_on;
    worker_pool pool({.fibers = 1, .queue = 0});
    pool.submit([&] { go_on.wait(); });
    const auto nothing = [] {};
    const auto submit = [&]() -> task<> { co_await pool.async_submit(nothing); };
    const auto call = [&]() -> task<> { (void)co_await pool.async_future(nothing); };
    auto a = spawn(submit());
    auto b = spawn(call());
    settle();
    pool.close();
    EXPECT_THROW(a.join(), worker_pool_closed);
    EXPECT_THROW(b.join(), worker_pool_closed);
    EXPECT_THROW(spawn(submit()).join(), worker_pool_closed);
    go_on.set();
    pool.join();
  });
}

TEST_P(task_worker_pool_test, joining_throws_the_first_failure_once) {
  run([] {
    worker_pool pool({.fibers = 2});
    pool.submit([] { throw std::out_of_range("expected"); });
    const auto join = [&]() -> task<> { co_await pool.async_join(); };
    EXPECT_THROW(spawn(join()).join(), std::out_of_range);
    spawn(join()).join();
  });
}

TEST_P(task_worker_pool_test, a_cancelled_join_lets_the_jobs_go_on) {
  run([] {
    event go_on;
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 1});
    pool.submit([&] {
      go_on.wait();
      ++ran;
    });
    const auto join = [&]() -> task<int> {
      co_await pool.async_join();
      co_return 1;
    };
    auto t = spawn(join());
    settle();
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    go_on.set();
    EXPECT_EQ(spawn(join()).join(), 1);
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(task_worker_pool_test, is_cancelled_by_a_task) {
  run([] {
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 2, .queue = 4});
    for (int i = 0; i < 5; ++i)
      pool.submit([&] {
        this_fiber::sleep_for(24h);
        ++ran;
      });
    const auto stop = [&]() -> task<> {
      pool.cancel();
      co_await pool.async_join();
    };
    spawn(stop()).join();
    EXPECT_EQ(ran, 0);
  });
}

TEST_P(task_worker_pool_test, storm_of_submitters_and_a_cancellation) {
  run([] {
    auto held = std::make_shared<int>(0);
    for (int round = 0; round < 10; ++round) {
      worker_pool pool({.fibers = 4, .queue = 3});
      std::atomic<int> accepted{0};
      const auto job = [held] { this_fiber::yield(); };
      const auto submit = [&](int i) -> task<> {
        try {
          for (int k = 0; k < 100; ++k) {
            if (k % 2 == 0)
              (void)co_await pool.async_future(job);
            else
              co_await pool.async_submit(job);
            if (++accepted == 300) i % 2 ? pool.cancel() : pool.close();
          }
        } catch (const worker_pool_closed&) {
        }
      };
      scope submitters;
      for (int i = 0; i < 4; ++i) {
        go_in(submitters, submit(i));
        submitters.go([&] {
          try {
            for (int k = 0; k < 100; ++k, ++accepted) pool.submit(job);
          } catch (const worker_pool_closed&) {
          }
        });
      }
      submitters.join();
      pool.join();
    }
    EXPECT_EQ(held.use_count(), 1);
  });
}

}  // namespace
}  // namespace thrum
