// What worker_pool.hpp promises.
#include <thrum/worker_pool.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class worker_pool_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, worker_pool_test, worker_counts, count_name);

TEST_P(worker_pool_test, join_works_off_everything) {
  run([] {
    std::atomic<int> done{0};
    worker_pool pool({.fibers = 3, .queue = 2});
    for (int i = 0; i < 100; ++i)
      pool.submit([&] {
        this_fiber::yield();
        ++done;
      });
    pool.join();
    EXPECT_EQ(done, 100);
    pool.join();  // Again is harmless.
  });
}

TEST_P(worker_pool_test, runs_at_most_so_many_at_a_time_and_in_order) {
  run([] {
    std::atomic<int> running{0}, most{0};
    std::vector<int> order;
    worker_pool pool({.fibers = 3, .queue = 4});
    for (int i = 0; i < 50; ++i)
      pool.submit([&] {
        const int now = ++running;
        for (int m = most; now > m && !most.compare_exchange_weak(m, now);) {
        }
        this_fiber::sleep_for(100us);
        --running;
      });
    pool.join();
    EXPECT_LE(most, 3);
    worker_pool single({.fibers = 1, .queue = 4});
    for (int i = 0; i < 50; ++i) single.submit([&, i] { order.push_back(i); });
    single.join();
    for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  });
}

TEST_P(worker_pool_test, submit_waits_for_room_and_try_submit_does_not) {
  run([] {
    event go_on;
    std::atomic<int> accepted{0};
    worker_pool pool({.fibers = 2, .queue = 1});
    for (int i = 0; i < 3; ++i) pool.submit([&] { go_on.wait(); });  // Two run, one waits.
    fiber fourth = spawn([&] {
      pool.submit([] {});
      ++accepted;
    });
    EXPECT_TRUE(eventually([&] { return pool.queued() == 1; }));
    settle();
    EXPECT_EQ(accepted, 0);
    auto kept = std::make_unique<int>(7);
    auto job = [kept = std::move(kept)] {};
    EXPECT_FALSE(pool.try_submit(std::move(job)));
    go_on.set();
    fourth.join();
    EXPECT_EQ(accepted, 1);
    EXPECT_TRUE(eventually([&] { return pool.try_submit(std::move(job)); }));  // It was not moved from.
    pool.join();
  });
}

TEST_P(worker_pool_test, without_a_queue_a_job_needs_a_free_fiber) {
  run([] {
    event go_on;
    worker_pool pool({.fibers = 1, .queue = 0});
    EXPECT_TRUE(pool.try_submit([&] { go_on.wait(); }));
    EXPECT_FALSE(pool.try_submit([] {}));
    go_on.set();
    pool.submit([] {});
    pool.join();
  });
}

TEST_P(worker_pool_test, a_cancelled_submit_queues_nothing) {
  run([] {
    event go_on;
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 1, .queue = 0});
    pool.submit([&] { go_on.wait(); });
    EXPECT_THROW(with_scope(5ms, [&](scope&) { pool.submit([&] { ++ran; }); }), timed_out);
    go_on.set();
    {
      scope s;
      s.cancel();
      EXPECT_THROW(pool.submit([&] { ++ran; }), cancelled);
      EXPECT_THROW(pool.async([&] { ++ran; }), cancelled);
    }
    pool.submit([] {});  // Its room was given back.
    pool.join();
    EXPECT_EQ(ran, 0);
  });
}

TEST_P(worker_pool_test, async_hands_on_results_and_exceptions) {
  run([] {
    worker_pool pool({.fibers = 2});
    auto sum = pool.async([](int a, std::unique_ptr<int> b) { return a + *b; }, 40, std::make_unique<int>(2));
    auto failing = pool.async([]() -> int { throw std::runtime_error("expected"); });
    auto nothing = pool.async([] {});
    EXPECT_EQ(sum.get(), 42);
    EXPECT_THROW(failing.get(), std::runtime_error);
    nothing.get();
    EXPECT_EQ(pool.async([] { return 1; }).get(), 1);  // The pool goes on.
    pool.join();
  });
}

TEST_P(worker_pool_test, a_failure_of_a_submitted_job_fails_the_pool) {
  run([] {
    std::atomic<int> stopped{0}, dropped_ran{0};
    worker_pool pool({.fibers = 2, .queue = 2});
    pool.submit([&] {
      try {
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        ++stopped;
        throw;
      }
    });
    event fail;
    pool.submit([&] {
      fail.wait();
      throw std::runtime_error("expected");
    });
    auto waiting = pool.async([&] { ++dropped_ran; });
    pool.submit([&] { ++dropped_ran; });
    fiber blocked = spawn([&] { EXPECT_THROW(pool.submit([&] { ++dropped_ran; }), worker_pool_closed); });
    settle();
    fail.set();
    blocked.join();
    EXPECT_THROW(pool.join(), std::runtime_error);
    EXPECT_EQ(stopped, 1);
    EXPECT_EQ(dropped_ran, 0);
    EXPECT_THROW(waiting.get(), broken_promise);
    EXPECT_THROW(pool.submit([] {}), worker_pool_closed);
    EXPECT_THROW(pool.try_submit([] {}), worker_pool_closed);
    EXPECT_THROW(pool.async([] {}), worker_pool_closed);
    pool.join();  // Thrown once.
  });
}

TEST_P(worker_pool_test, a_job_that_leaves_with_cancelled_has_ended_normally) {
  run([] {
    worker_pool pool({.fibers = 1});
    pool.submit([] { throw cancelled{}; });
    auto broken = pool.async([]() -> int { throw cancelled{}; });
    EXPECT_THROW(broken.get(), broken_promise);
    EXPECT_EQ(pool.async([] { return 1; }).get(), 1);
    pool.join();
  });
}

TEST_P(worker_pool_test, close_takes_no_more_but_works_off_what_it_has) {
  run([] {
    event go_on;
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 1, .queue = 3});
    for (int i = 0; i < 4; ++i)
      pool.submit([&] {
        go_on.wait();
        ++ran;
      });
    fiber blocked = spawn([&] { EXPECT_THROW(pool.submit([] {}), worker_pool_closed); });
    settle();
    pool.close();
    blocked.join();
    EXPECT_THROW(pool.try_submit([] {}), worker_pool_closed);
    go_on.set();
    pool.join();
    EXPECT_EQ(ran, 4);
  });
}

TEST_P(worker_pool_test, a_cancelled_join_lets_the_jobs_go_on) {
  run([] {
    event go_on;
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 1});
    pool.submit([&] {
      go_on.wait();
      ++ran;
    });
    EXPECT_THROW(with_scope(5ms, [&](scope&) { pool.join(); }), timed_out);
    go_on.set();
    pool.join();
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(worker_pool_test, cancel_drops_what_waits_and_stops_what_runs) {
  run([] {
    std::atomic<int> ran{0};
    auto held = std::make_shared<int>(0);
    worker_pool pool({.fibers = 2, .queue = 8});
    std::vector<future<void>> futures;
    for (int i = 0; i < 6; ++i)
      futures.push_back(pool.async([&ran, held] {
        this_fiber::sleep_for(24h);
        ++ran;
      }));
    settle();
    pool.cancel();
    pool.join();
    EXPECT_EQ(ran, 0);
    EXPECT_EQ(held.use_count(), 1);
    for (auto& f : futures) EXPECT_THROW(f.get(), broken_promise);
  });
}

TEST_P(worker_pool_test, destruction_cancels_and_drops_a_failure) {
  run([] {
    auto held = std::make_shared<int>(0);
    {
      worker_pool pool({.fibers = 1, .queue = 8});
      pool.submit([] {
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {
          throw std::runtime_error("dropped");
        }
      });
      for (int i = 0; i < 5; ++i) pool.submit([held] {});
      settle();
    }
    EXPECT_EQ(held.use_count(), 1);
    const worker_pool unused;
  });
}

TEST_P(worker_pool_test, belongs_to_no_scope_and_may_end_in_another_fiber) {
  run([] {
    std::atomic<int> ran{0};
    std::optional<worker_pool> pool;
    {
      scope s;
      pool.emplace();
      s.cancel();
      s.join();
    }
    pool->submit([&] { ++ran; });
    fiber other = spawn([&] {
      pool->join();
      pool.reset();
    });
    other.join();
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(worker_pool_test, jobs_see_the_context_of_who_created_the_pool) {
  run([] {
    static context_key<int> key;
    std::optional<worker_pool> pool;
    {
      context_value scoped(key, 1);
      pool.emplace();
    }
    context_value other(key, 2);
    EXPECT_EQ(pool->async([] { return key.get(); }).get(), 1);
    pool->join();
  });
}

TEST_P(worker_pool_test, threads_may_submit) {
  run([] {
    std::atomic<int> ran{0};
    worker_pool pool({.fibers = 2, .queue = 1});
    std::thread t([&] {
      for (int i = 0; i < 50; ++i) pool.submit([&] { ++ran; });
      EXPECT_EQ(pool.async([] { return 7; }).get(), 7);
    });
    EXPECT_TRUE(eventually([&] { return ran == 50; }));
    t.join();
    pool.join();
  });
}

TEST(worker_pool_on_threads, cannot_be_created_there) { EXPECT_THROW(worker_pool({.fibers = 1}), std::logic_error); }

TEST_P(worker_pool_test, storm_of_submitters_and_a_cancellation) {
  run([] {
    auto held = std::make_shared<int>(0);
    for (int round = 0; round < 10; ++round) {
      worker_pool pool({.fibers = 4, .queue = 3});
      std::atomic<int> accepted{0};
      scope submitters;
      for (int i = 0; i < 8; ++i)
        submitters.go([&, i] {
          try {
            for (int k = 0; k < 100; ++k) {
              if (k % 3 == 0)
                pool.async([held] { this_fiber::yield(); });
              else if (k % 3 == 1)
                pool.submit([held] { this_fiber::yield(); });
              else if (!pool.try_submit([held] {}))
                this_fiber::yield();
              if (++accepted == 300) i % 2 ? pool.cancel() : pool.close();
            }
          } catch (const worker_pool_closed&) {
          }
        });
      submitters.join();
      pool.join();
    }
    EXPECT_EQ(held.use_count(), 1);
  });
}

}  // namespace
}  // namespace thrum
