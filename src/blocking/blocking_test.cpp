// What blocking.hpp and task_blocking.hpp promise.
#include <thrum/blocking.hpp>
#include <thrum/task_blocking.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/thread.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

constexpr std::size_t default_threads_max = 64;

class blocking_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, blocking_test, worker_counts, count_name);

bool pool_has(std::size_t running, std::size_t queued) {
  const auto now = blocking_stats();
  return now.running == running && now.queued == queued;
}

// While it lives the pool has so many threads, all of them busy until let_go().
class busy_pool {
 public:
  explicit busy_pool(std::size_t threads) : callers_(threads) {
    set_blocking_threads_max(threads);
    for (auto& c : callers_) c = spawn([held = held_] { blocking([held] { held.wait(); }); });
    EXPECT_TRUE(eventually([&] { return pool_has(threads, 0); }));
  }
  ~busy_pool() {
    let_go();
    for (auto& c : callers_) c.join();
    set_blocking_threads_max(default_threads_max);
  }
  void let_go() {
    if (!std::exchange(gone_, true)) let_.set_value();
  }

 private:
  std::promise<void> let_;
  std::shared_future<void> held_ = let_.get_future().share();
  std::vector<fiber> callers_;
  bool gone_ = false;
};

TEST_P(blocking_test, runs_the_call_on_another_thread_and_returns_its_result) {
  run([] {
    const auto mine = os::thread_id();
    EXPECT_NE(blocking([] { return os::thread_id(); }), mine);
    EXPECT_EQ(*blocking([] { return std::make_unique<int>(7); }), 7);
    EXPECT_EQ(blocking([p = std::make_unique<std::string>("abc")] { return *p; }), "abc");
    int n = 0;
    blocking([&] { n = 8; });
    EXPECT_EQ(n, 8);
    int& same = blocking([&]() -> int& { return n; });
    EXPECT_EQ(&same, &n);
    EXPECT_FALSE(blocking([] { return this_fiber::in_fiber(); }));
  });
}

TEST_P(blocking_test, throws_what_the_call_throws) {
  run([] {
    EXPECT_THROW(blocking([]() -> int { throw std::out_of_range("far"); }), std::out_of_range);
    EXPECT_THROW(blocking([] { throw 7; }), int);
    EXPECT_EQ(blocking([] { return 1; }), 1);
  });
}

TEST_P(blocking_test, tasks_have_a_twin) {
  run([] {
    const auto use = []() -> task<int> {
      const auto here = os::thread_id();
      const auto there = co_await async_blocking([] { return os::thread_id(); });
      EXPECT_NE(here, there);
      co_await async_blocking([] {});
      bool thrown = false;
      try {
        co_await async_blocking([] { throw std::out_of_range("far"); });
      } catch (const std::out_of_range&) {
        thrown = true;
      }
      EXPECT_TRUE(thrown);
      const auto give = [] { return std::make_unique<int>(7); };
      const auto p = co_await async_blocking(give);
      co_return *p;
    };
    EXPECT_EQ(spawn(use()).join(), 7);
  });
}

// Each waits for the next to begin: so all of them block at one time, and the workers are free.
TEST_P(blocking_test, many_calls_block_at_once_and_no_worker_does) {
  run([] {
    constexpr int many = 20;
    std::atomic<int> begun{0};
    scope s;
    for (int i = 0; i < many; ++i)
      s.go([&] {
        blocking([&] {
          ++begun;
          EXPECT_TRUE(eventually([&] { return begun == many; }));
        });
      });
    s.join();
    EXPECT_EQ(begun, many);
  });
}

TEST_P(blocking_test, callers_beyond_the_maximum_wait_in_order) {
  run([] {
    std::vector<int> order;  // By the pool's one thread.
    std::vector<fiber> callers;
    {
      busy_pool pool(1);
      for (int i = 0; i < 5; ++i) {
        callers.push_back(spawn([&, i] { blocking([&order, i] { order.push_back(i); }); }));
        EXPECT_TRUE(eventually([&] { return pool_has(1, static_cast<std::size_t>(i) + 1); }));
      }
      EXPECT_EQ(blocking_stats().threads, 1u);
      pool.let_go();
      for (auto& c : callers) c.join();
    }
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  });
}

TEST_P(blocking_test, a_queued_call_that_is_cancelled_never_runs) {
  run([] {
    busy_pool pool(1);
    const auto before = blocking_stats().withdrawn;
    bool ran = false;
    std::atomic<int> told{0};
    const auto use = [&]() -> task<> {
      try {
        co_await async_blocking([&] { ran = true; });
      } catch (const cancelled&) {
        ++told;
      }
    };
    fiber f = spawn([&] {
      try {
        blocking([&] { ran = true; });
      } catch (const cancelled&) {
        ++told;
      }
    });
    auto t = spawn(use());
    EXPECT_TRUE(eventually([&] { return pool_has(1, 2); }));
    f.request_stop();
    t.request_stop();
    f.join();
    t.join();
    EXPECT_TRUE(pool_has(1, 0));
    EXPECT_EQ(told, 2);
    EXPECT_FALSE(ran);
    EXPECT_EQ(blocking_stats().withdrawn, before + 2);
  });
}

TEST_P(blocking_test, in_a_cancelled_scope_nothing_is_called) {
  run([] {
    scope s;
    s.cancel();
    const auto use = []() -> task<> { co_await async_blocking([] { ADD_FAILURE(); }); };
    EXPECT_THROW(blocking([] { ADD_FAILURE(); }), cancelled);
    go_in(s, use());
    s.join();
  });
}

TEST_P(blocking_test, a_call_that_has_begun_runs_to_its_end_and_its_result_is_delivered) {
  run([] {
    std::promise<void> let_go;
    auto held = let_go.get_future().share();
    std::atomic<int> begun{0}, got{0}, cancelled_next{0};
    const auto wait = [&] {
      ++begun;
      held.wait();
      return 7;
    };
    const auto use = [&]() -> task<> {
      const int n = co_await async_blocking(wait);
      got += n;
      try {
        co_await async_sleep_for(0s);
      } catch (const cancelled&) {
        ++cancelled_next;
      }
    };
    fiber f = spawn([&] {
      got += blocking(wait);
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        ++cancelled_next;
      }
    });
    auto t = spawn(use());
    EXPECT_TRUE(eventually([&] { return begun == 2; }));
    f.request_stop();
    t.request_stop();
    settle();
    EXPECT_EQ(got, 0);
    let_go.set_value();
    f.join();
    t.join();
    EXPECT_EQ(got, 14);
    EXPECT_EQ(cancelled_next, 2);
  });
}

TEST_P(blocking_test, cancellation_and_completion_race) {
  run([] {
    set_blocking_threads_max(2);
    const auto before = blocking_stats();
    std::atomic<std::uint64_t> ran{0}, returned{0}, withdrawn{0};
    const auto use = [&]() -> task<> {
      try {
        co_await async_blocking([&] { ++ran; });
        ++returned;
      } catch (const cancelled&) {
        ++withdrawn;
      }
    };
    for (int round = 0; round < 50; ++round) {
      scope s;
      for (int i = 0; i < 6; ++i) {
        s.go([&] {
          try {
            blocking([&] { ++ran; });
            ++returned;
          } catch (const cancelled&) {
            ++withdrawn;
          }
        });
        go_in(s, use());
      }
      for (int i = 0; i < round % 5; ++i) this_fiber::yield();
      s.cancel();
      s.join();
    }
    set_blocking_threads_max(default_threads_max);
    EXPECT_EQ(ran, returned);
    EXPECT_EQ(returned + withdrawn, 50u * 12);
    const auto after = blocking_stats();
    EXPECT_EQ(after.completed - before.completed, ran);
    EXPECT_LE(after.withdrawn - before.withdrawn, withdrawn);  // Others were cancelled before they were queued.
    EXPECT_TRUE(pool_has(0, 0));
  });
}

TEST_P(blocking_test, offloaded_calls_use_what_plain_threads_may_use) {
  run([] {
    channel<int> there(0), back(0);
    fiber f = spawn([&] {
      blocking([&] {
        back.send(*there.receive() + 1);
        EXPECT_EQ(blocking([] { return 3; }), 3);  // In place.
      });
    });
    there.send(6);
    EXPECT_EQ(back.receive(), 7);
    f.join();
  });
}

TEST_P(blocking_test, the_maximum_may_be_changed_while_calls_wait) {
  run([] {
    std::vector<fiber> callers;
    std::atomic<int> ran{0};
    busy_pool pool(1);
    for (int i = 0; i < 4; ++i) callers.push_back(spawn([&] { blocking([&] { ++ran; }); }));
    EXPECT_TRUE(eventually([] { return pool_has(1, 4); }));
    set_blocking_threads_max(3);
    for (auto& c : callers) c.join();  // By the new threads: the first is still held.
    EXPECT_EQ(ran, 4);
    set_blocking_threads_max(1);
    EXPECT_TRUE(eventually([] { return blocking_stats().threads == 1; }));
    EXPECT_TRUE(pool_has(1, 0));
  });
}

TEST(blocking_pool, a_plain_thread_calls_in_place) {
  const auto mine = os::thread_id();
  EXPECT_EQ(blocking([] { return os::thread_id(); }), mine);
  EXPECT_THROW(blocking([] { throw 7; }), int);
}

TEST(blocking_pool, serves_several_runtimes_and_ends_its_threads_with_the_last) {
  {
    runtime a({.workers = 1}), b({.workers = 2});
    const auto call = [] {
      scope s;
      for (int i = 0; i < 50; ++i) s.go([] { blocking([] {}); });
      s.join();
      return blocking([] { return os::thread_id(); });
    };
    fiber other = b.spawn([&] { call(); });
    a.run(call);
    other.join();
    EXPECT_GT(blocking_stats().threads, 0u);
  }
  EXPECT_EQ(blocking_stats().threads, 0u);
  EXPECT_TRUE(pool_has(0, 0));
}

TEST(blocking_pool, threads_come_and_go_with_runtimes) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(run({.workers = 2}, [] { return blocking([] { return 7; }); }), 7);
    EXPECT_EQ(blocking_stats().threads, 0u);
  }
}

TEST(blocking_pool, in_a_simulation_the_call_is_made_in_place) {
  sim::run({.seed = 3}, [] {
    const auto mine = os::thread_id();
    EXPECT_EQ(blocking([] { return os::thread_id(); }), mine);
    const auto use = []() -> task<pid_t> { co_return co_await async_blocking([] { return os::thread_id(); }); };
    EXPECT_EQ(spawn(use()).join(), mine);
    fiber f = spawn([] { blocking([] { ADD_FAILURE(); }); });
    f.request_stop();
    f.join();
  });
}

}  // namespace
}  // namespace thrum
