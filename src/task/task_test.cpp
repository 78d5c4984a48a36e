// What task.hpp, task_handle.hpp and task_sleep.hpp promise. The twins of the waiting calls:
// tests/semantics_calls.hpp.
#include <thrum/task.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_test, worker_counts, count_name);

task<int> give(int v) { co_return v; }
task<> nothing() { co_return; }
task<int> fail() {
  throw std::out_of_range("from the task");
  co_return 0;
}

// Counts how many of it are alive.
struct counted {
  explicit counted(std::atomic<int>& n) : n_(&n) { ++n; }
  counted(const counted& other) : n_(other.n_) { ++*n_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*n_; }
  std::atomic<int>* n_;
};

TEST_P(task_test, gives_its_result_to_who_joins) {
  run([] {
    EXPECT_EQ(spawn(give(42)).join(), 42);
    spawn(nothing()).join();
    auto s = spawn([]() -> task<std::string> { co_return "text"; });
    EXPECT_TRUE(s.joinable());
    EXPECT_NE(s.get_id(), 0u);
    EXPECT_EQ(s.join(), "text");
    EXPECT_FALSE(s.joinable());
    EXPECT_EQ(s.get_id(), 0u);
    EXPECT_THROW(s.join(), std::system_error);
    EXPECT_THROW(s.detach(), std::system_error);
  });
}

TEST_P(task_test, results_may_be_move_only) {
  run([] {
    auto p = spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); }).join();
    EXPECT_EQ(*p, 7);
  });
}

TEST_P(task_test, throws_its_exception_to_who_joins) {
  run([] {
    EXPECT_THROW(spawn(fail()).join(), std::out_of_range);
    auto outer = []() -> task<int> { co_return co_await fail(); };
    EXPECT_THROW(spawn(outer()).join(), std::out_of_range);
    auto catches = []() -> task<int> {
      try {
        co_return co_await fail();
      } catch (const std::out_of_range&) {
      }
      co_return 1;
    };
    EXPECT_EQ(spawn(catches()).join(), 1);
  });
}

TEST_P(task_test, does_not_run_before_it_is_awaited_or_started) {
  run([] {
    bool ran = false;
    {
      auto t = [](bool& flag) -> task<> {
        flag = true;
        co_return;
      }(ran);
      EXPECT_TRUE(static_cast<bool>(t));
    }
    EXPECT_FALSE(ran);
    EXPECT_THROW(go(task<>()), std::invalid_argument);
    EXPECT_THROW((void)spawn(task<int>()), std::invalid_argument);
  });
}

TEST_P(task_test, is_awaited_once) {
  run([] {
    const auto awaits = [](task<int>& t) -> task<int> { co_return co_await std::move(t); };
    auto once = give(1);
    EXPECT_EQ(spawn(awaits(once)).join(), 1);
    EXPECT_THROW(spawn(awaits(once)).join(), std::logic_error);
    task<int> empty;
    EXPECT_THROW(spawn(awaits(empty)).join(), std::logic_error);
  });
}

TEST(task_outside, needs_a_runtime) {
  EXPECT_THROW(go(nothing()), std::logic_error);
  EXPECT_THROW((void)spawn(give(1)), std::logic_error);
}

TEST_P(task_test, sleeps_and_yields) {
  run([] {
    const auto before = clock::now();
    auto t = spawn([]() -> task<> {
      co_await async_sleep_for(5ms);
      co_await async_sleep_until(clock::now() + 2ms);
      for (int i = 0; i < 100; ++i) co_await async_yield();
      co_await async_sleep_for(-1s);
    });
    t.join();
    EXPECT_GE(clock::now() - before, 7ms);
  });
}

TEST_P(task_test, is_joined_by_a_task) {
  run([] {
    auto sum = []() -> task<int> {
      int total = 0;
      for (int i = 0; i < 100; ++i) {
        auto child = spawn(give(i));
        if (i % 3 == 0) co_await async_yield();
        total += co_await child.async_join();
      }
      auto bad = spawn(fail());
      try {
        co_await bad.async_join();
      } catch (const std::out_of_range&) {
        co_return total;
      }
      co_return -1;
    };
    EXPECT_EQ(spawn(sum()).join(), 4950);
  });
}

TEST_P(task_test, is_joined_by_a_thread) {
  run([] {
    auto t = spawn([]() -> task<int> {
      co_await async_sleep_for(a_moment);
      co_return 5;
    });
    int got = 0;
    std::thread([&] { got = t.join(); }).join();
    EXPECT_EQ(got, 5);
  });
}

TEST_P(task_test, goes_on_alone_when_detached) {
  run([] {
    std::atomic<int> alive{0};
    std::atomic<bool> done{false};
    auto body = [](counted, std::atomic<bool>& flag) -> task<> {
      co_await async_sleep_for(a_moment);
      flag = true;
    };
    spawn(body(counted(alive), done)).detach();
    EXPECT_TRUE(eventually([&] { return done.load() && alive == 0; }));
    auto failed = spawn(fail());
    auto& f = failed;
    EXPECT_TRUE(eventually([&] {
      try {
        if (f.joinable()) f.join();
      } catch (const std::out_of_range&) {
        return true;
      }
      return false;
    }));
  });
}

TEST_P(task_test, destroys_its_frame_when_it_has_ended) {
  run([] {
    std::atomic<int> alive{0};
    auto body = [](counted) -> task<> { co_await async_yield(); };
    for (int i = 0; i < 100; ++i) go(body(counted(alive)));
    EXPECT_TRUE(eventually([&] { return alive == 0; }));
    for (int i = 0; i < 100; ++i) spawn(body(counted(alive))).join();
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(task_test, a_dropped_handle_stops_and_joins) {
  run([] {
    std::atomic<int> alive{0};
    auto body = [](counted) -> task<> { co_await async_sleep_for(24h); };
    { auto t = spawn(body(counted(alive))); }
    EXPECT_EQ(alive, 0);
    { auto t = spawn(fail()); }  // Its exception is dropped.
  });
}

TEST_P(task_test, a_handle_dropped_in_a_task_stops_the_other) {
  run([] {
    std::atomic<int> alive{0};
    auto body = [](counted) -> task<> { co_await async_sleep_for(24h); };
    auto failing = []() -> task<> {
      co_await async_yield();
      throw std::runtime_error("dropped");
    };
    spawn([&]() -> task<> {
      auto a = spawn(body(counted(alive)));
      auto b = spawn(failing());
      co_return;
    }).join();
    EXPECT_TRUE(eventually([&] { return alive == 0; }));
  });
}

TEST_P(task_test, a_handle_that_is_assigned_to_ends_the_task_that_it_had) {
  run([] {
    std::atomic<int> alive{0};
    auto body = [](counted) -> task<> { co_await async_sleep_for(24h); };
    auto a = spawn(body(counted(alive)));
    auto b = spawn([]() -> task<> { co_await async_sleep_for(24h); });
    const auto id = b.get_id();
    a = std::move(b);
    EXPECT_EQ(alive, 0);  // Though b is still there.
    EXPECT_FALSE(b.joinable());
    EXPECT_EQ(a.get_id(), id);
    auto& same = a;
    a = std::move(same);
    EXPECT_EQ(a.get_id(), id);
    a = {};
    EXPECT_FALSE(a.joinable());
  });
}

TEST_P(task_test, a_task_that_is_assigned_to_destroys_what_it_had) {
  run([] {
    std::atomic<int> alive{0};
    auto body = [](counted) -> task<int> { co_return 1; };
    auto a = body(counted(alive));
    auto b = give(2);
    EXPECT_EQ(alive, 1);
    a = std::move(b);
    EXPECT_EQ(alive, 0);
    EXPECT_FALSE(static_cast<bool>(b));
    auto& same = a;
    a = std::move(same);
    EXPECT_EQ(spawn(std::move(a)).join(), 2);
  });
}

TEST_P(task_test, stops_on_request) {
  run([] {
    auto sleeper = []() -> task<int> {
      co_await async_sleep_for(24h);
      co_return 1;
    };
    auto t = spawn(sleeper());
    settle();
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    auto v = spawn([]() -> task<> { co_await async_sleep_for(24h); });
    v.request_stop();
    v.join();  // Of a task without a result, being cancelled is a normal end.
  });
}

TEST_P(task_test, cancellation_is_level_triggered) {
  run([] {
    int thrown = 0;
    auto t = spawn([&]() -> task<> {
      for (int i = 0; i < 3; ++i) {
        try {
          co_await async_sleep_for(24h);
        } catch (const cancelled&) {
          ++thrown;
        }
        try {
          co_await async_yield();
        } catch (const cancelled&) {
          ++thrown;
        }
      }
    });
    settle();
    t.request_stop();
    t.join();
    EXPECT_EQ(thrown, 6);
  });
}

task<int> depth_of(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await depth_of(n - 1);
}

TEST_P(task_test, chains_are_as_long_as_memory_allows) {
  run([] {
    const int n = 1'000'000;
    EXPECT_EQ(spawn(depth_of(n)).join(), n);
    auto many = [](int count) -> task<int> {
      int total = 0;
      for (int i = 0; i < count; ++i) total += co_await give(1);
      co_return total;
    };
    EXPECT_EQ(spawn(many(n)).join(), n);
  });
}

TEST_P(task_test, a_task_that_computes_does_not_stop_the_others) {
  run([] {
    std::atomic<bool> stop{false};
    std::vector<task_handle<void>> hogs;
    for (int i = 0; i < 4; ++i)
      hogs.push_back(spawn([&]() -> task<> {
        while (!stop) std::atomic_signal_fence(std::memory_order_seq_cst);
        co_return;
      }));
    auto ticks = spawn([]() -> task<int> {
      for (int i = 0; i < 10; ++i) co_await async_sleep_for(1ms);
      co_return 10;
    });
    EXPECT_EQ(ticks.join(), 10);
    for (int i = 0; i < 10; ++i) this_fiber::sleep_for(1ms);
    stop = true;
    for (auto& h : hogs) h.join();
  });
}

TEST_P(task_test, one_that_never_waits_gives_way) {
  run([] {
    std::atomic<bool> stop{false};
    auto t = spawn([&]() -> task<> {
      while (!stop) co_await async_yield();
    });
    auto u = spawn([&]() -> task<> {
      while (!stop) {
        auto child = spawn(give(1));
        (void)co_await child.async_join();
      }
    });
    for (int i = 0; i < 10; ++i) this_fiber::sleep_for(1ms);
    stop = true;
    t.join();
    u.join();
  });
}

TEST_P(task_test, fibers_and_tasks_share_the_workers) {
  run([] {
    std::atomic<int> done{0};
    std::vector<task_handle<void>> tasks;
    std::vector<fiber> fibers;
    for (int i = 0; i < 200; ++i) {
      tasks.push_back(spawn([&]() -> task<> {
        for (int k = 0; k < 20; ++k) co_await async_yield();
        ++done;
      }));
      fibers.push_back(spawn([&] {
        for (int k = 0; k < 20; ++k) this_fiber::yield();
        ++done;
      }));
    }
    for (auto& t : tasks) t.join();
    for (auto& f : fibers) f.join();
    EXPECT_EQ(done, 400);
  });
}

TEST_P(task_test, tells_who_it_is) {
  run([] {
    auto t = spawn([]() -> task<std::uint64_t> {
      EXPECT_FALSE(this_fiber::in_fiber());
      EXPECT_FALSE(this_fiber::stop_requested());
      co_await async_yield();
      co_return this_fiber::get_id();
    });
    const auto id = t.get_id();
    EXPECT_EQ(t.join(), id);
  });
}

}  // namespace
}  // namespace thrum
