// What task_sync.hpp promises: waiting for conditions, with and without a limit.
#include <thrum/task_sync.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_sync_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_sync_test, worker_counts, count_name);

TEST_P(task_sync_test, a_condition_is_waited_for) {
  run([] {
    mutex m;
    condition_variable changed;
    int turns = 0;
    const auto body = [&]() -> task<int> {
      auto hold = co_await m.async_scoped_lock();
      const auto third = [&] { return turns >= 3; };
      co_await changed.async_wait(hold, third);
      EXPECT_TRUE(hold.owns_lock());
      co_return turns;
    };
    auto t = spawn(body());
    for (int i = 0; i < 3; ++i) {
      settle();
      std::lock_guard hold(m);
      ++turns;
      changed.notify_all();
    }
    EXPECT_EQ(t.join(), 3);
  });
}

TEST_P(task_sync_test, a_limit_ends_the_wait_for_a_condition) {
  run([] {
    mutex m;
    condition_variable changed;
    bool done = false;
    const auto body = [&]() -> task<> {
      auto hold = co_await m.async_scoped_lock();
      const auto is_done = [&] { return done; };
      bool held = co_await changed.async_wait_for(hold, 1ms, is_done);
      EXPECT_FALSE(held);
      EXPECT_TRUE(hold.owns_lock());
      done = true;
      held = co_await changed.async_wait_for(hold, 0s, is_done);
      EXPECT_TRUE(held);
      held = co_await changed.async_wait_until(hold, clock::now() - 1h, is_done);
      EXPECT_TRUE(held);
    };
    spawn(body()).join();
  });
}

TEST_P(task_sync_test, a_cancelled_wait_for_a_condition_holds_the_lock) {
  run([] {
    mutex m;
    condition_variable changed;
    bool held = false;
    const auto body = [&]() -> task<> {
      auto hold = co_await m.async_scoped_lock();
      const auto never = [] { return false; };
      try {
        (void)co_await changed.async_wait_for(hold, 24h, never);
      } catch (const cancelled&) {
        held = hold.owns_lock();
        throw;
      }
    };
    auto t = spawn(body());
    settle();
    t.request_stop();
    t.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(held);
  });
}

TEST_P(task_sync_test, guarded_data_is_waited_for_with_a_limit) {
  run([] {
    guarded<int> data{0};
    event gave_up;
    const auto is_there = [](int v) { return v > 0; };
    const auto body = [&]() -> task<> {
      {
        auto in_vain = co_await async_wait_for(data, 1ms, is_there);
        EXPECT_FALSE(in_vain);
      }
      gave_up.set();
      auto a = co_await async_wait_until(data, clock::now() + 24h, is_there);
      EXPECT_TRUE(a);
      if (a) --**a;
    };
    auto t = spawn(body());
    gave_up.wait();
    settle();
    ++*data.lock();
    t.join();
    EXPECT_EQ(*data.lock(), 0);
  });
}

TEST_P(task_sync_test, a_cancelled_wait_for_guarded_data_unlocks_it) {
  run([] {
    guarded<int> data{0};
    const auto body = [&]() -> task<> {
      const auto never = [](int) { return false; };
      (void)co_await async_wait_for(data, 24h, never);
    };
    auto t = spawn(body());
    settle();
    t.request_stop();
    t.join();
    EXPECT_EQ(*data.lock(), 0);
  });
}

TEST_P(task_sync_test, any_lock_is_released_and_taken_again) {
  run([] {
    shared_mutex m;
    condition_variable_any changed;
    int value = 0;
    scope all;
    const auto reads = [&]() -> task<> {
      co_await m.async_lock_shared();
      std::shared_lock hold(m, std::adopt_lock);
      const auto is_there = [&] { return value == 2; };
      co_await changed.async_wait(hold, is_there);
      EXPECT_TRUE(hold.owns_lock());
    };
    const auto writes = [&]() -> task<> {
      for (int i = 0; i < 2; ++i) {
        co_await async_sleep_for(a_moment);
        co_await m.async_lock();
        std::unique_lock hold(m, std::adopt_lock);
        ++value;
        hold.unlock();
        changed.notify_all();
      }
    };
    for (int i = 0; i < 4; ++i) {
      go_in(all, reads());
      all.go([&] {
        std::shared_lock hold(m);
        changed.wait(hold, [&] { return value == 2; });
      });
    }
    go_in(all, writes());
    all.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_sync_test, a_limit_and_a_cancellation_take_any_lock_again) {
  run([] {
    recursive_mutex m;
    condition_variable_any changed;
    bool held = false;
    const auto body = [&]() -> task<> {
      co_await m.async_lock();
      std::unique_lock hold(m, std::adopt_lock);
      const auto never = [] { return false; };
      bool met = co_await changed.async_wait_for(hold, 1ms);
      EXPECT_FALSE(met);
      met = co_await changed.async_wait_until(hold, clock::now() + 1ms, never);
      EXPECT_FALSE(met);
      EXPECT_TRUE(hold.owns_lock());
      try {
        co_await changed.async_wait(hold);
      } catch (const cancelled&) {
        held = hold.owns_lock();
        throw;
      }
    };
    auto t = spawn(body());
    this_fiber::sleep_for(3 * a_moment);
    t.request_stop();
    t.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_sync_test, no_notification_between_unlock_and_wait_is_missed) {
  run([] {
    mutex m;
    condition_variable_any changed;
    for (int i = 0; i < 300; ++i) {
      bool set = false;
      const auto body = [&]() -> task<> {
        auto hold = co_await m.async_scoped_lock();
        const auto is_set = [&] { return set; };
        co_await changed.async_wait(hold, is_set);
      };
      auto t = spawn(body());
      {
        std::lock_guard hold(m);
        set = true;
      }
      changed.notify_one();
      t.join();
    }
  });
}

TEST_P(task_sync_test, a_task_changes_and_awaits_data_that_many_may_read) {
  run([] {
    guarded<int, shared_mutex> data{0};
    const auto consumes = [&]() -> task<> {
      const auto is_there = [](int v) { return v > 0; };
      for (int i = 0; i < 100; ++i) {
        auto a = co_await async_wait(data, is_there);
        --*a;
      }
    };
    const auto produces = [&]() -> task<> {
      for (int i = 0; i < 100; ++i) {
        {
          auto a = co_await data.async_lock();
          ++*a;
        }
        co_await async_yield();
      }
    };
    scope all;
    go_in(all, consumes());
    all.go([&] {
      for (int i = 0; i < 100; ++i) --*data.wait([](int v) { return v > 0; });
    });
    go_in(all, produces());
    go_in(all, produces());
    all.join();
    EXPECT_EQ(*data.read(), 0);
  });
}

TEST_P(task_sync_test, an_address_is_waited_on_until_a_time) {
  run([] {
    std::atomic<int> value{0};
    event gave_up;
    const auto body = [&]() -> task<> {
      bool woken = co_await async_wait_on_address_until(value, 0, clock::now() + 1ms);
      EXPECT_FALSE(woken);
      gave_up.set();
      woken = co_await async_wait_on_address_until(value, 0, clock::now() + 24h);
      EXPECT_TRUE(woken);
      woken = co_await async_wait_on_address_for(value, 0, 24h);
      EXPECT_TRUE(woken);
    };
    auto t = spawn(body());
    gave_up.wait();
    settle();
    value = 1;
    wake_by_address_all(value);
    t.join();
  });
}

}  // namespace
}  // namespace thrum
