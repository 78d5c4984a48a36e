// Locks of tasks, alone: what a waiting task is told. In crowds: tests/stress_task_test.cpp.
#include <mutex>
#include <shared_mutex>

#include <thrum/task_sync.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_locks_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_locks_test, worker_counts, count_name);

TEST_P(task_locks_test, a_mutex_is_handed_to_a_task_that_waits_also_with_a_limit) {
  run([] {
    timed_mutex m;
    m.lock();
    auto plain = spawn([&]() -> task<> {
      co_await m.async_lock();
      EXPECT_FALSE(m.try_lock());
      m.unlock();
    });
    auto limited = spawn([&]() -> task<bool> {
      const bool got = co_await m.async_try_lock_for(24h);
      if (got) m.unlock();
      co_return got;
    });
    auto impatient = spawn([&]() -> task<bool> { co_return co_await m.async_try_lock_for(1ms); });
    EXPECT_FALSE(impatient.join());
    settle();
    m.unlock();
    plain.join();
    EXPECT_TRUE(limited.join());
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_locks_test, a_recursive_mutex_counts) {
  run([] {
    recursive_mutex m;
    spawn([&]() -> task<> {
      co_await m.async_lock();
      co_await m.async_lock();
      m.unlock();
      fiber other = spawn([&] { EXPECT_FALSE(m.try_lock()); });
      co_await other.async_join();
      m.unlock();
    }).join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_locks_test, readers_share_and_writers_exclude) {
  run([] {
    shared_mutex m;
    spawn([&]() -> task<> {
      co_await m.async_lock_shared();
      EXPECT_TRUE(m.try_lock_shared());
      EXPECT_FALSE(m.try_lock());
      m.unlock_shared();
      auto writer = spawn([&]() -> task<> {
        co_await m.async_lock();
        EXPECT_FALSE(m.try_lock_shared());
        m.unlock();
      });
      co_await async_sleep_for(a_moment);
      m.unlock_shared();
      co_await writer.async_join();
    }).join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_locks_test, a_condition_variable_returns_the_lock) {
  run([] {
    mutex m;
    condition_variable changed;
    event gave_up;
    bool ready = false;
    auto t = spawn([&]() -> task<bool> {
      auto hold = co_await m.async_scoped_lock();
      const bool early = co_await changed.async_wait_for(hold, 1ms);
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(early);
      gave_up.set();
      while (!ready) co_await changed.async_wait(hold);
      co_return hold.owns_lock();
    });
    gave_up.wait();
    settle();
    {
      std::lock_guard hold(m);
      ready = true;
    }
    changed.notify_one();
    EXPECT_TRUE(t.join());
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(task_locks_test, once_is_once_and_a_failure_lets_the_next_one_try) {
  run([] {
    once_flag flag;
    std::atomic<int> tries{0}, done{0};
    std::vector<task_handle<>> all;
    for (int i = 0; i < 10; ++i)
      all.push_back(spawn([&]() -> task<> {
        try {
          co_await async_call_once(flag, [&]() -> task<> {
            co_await async_yield();
            if (++tries < 3) throw std::runtime_error("not yet");
            ++done;
          });
        } catch (const std::runtime_error&) {
        }
      }));
    for (auto& t : all) t.join();
    EXPECT_EQ(tries, 3);
    EXPECT_EQ(done, 1);
    call_once(flag, [] { ADD_FAILURE(); });
  });
}

TEST_P(task_locks_test, guarded_data_is_reached_under_its_lock) {
  run([] {
    guarded<int> data{0};
    std::vector<task_handle<>> all;
    for (int i = 0; i < 20; ++i)
      all.push_back(spawn([&]() -> task<> {
        for (int k = 0; k < 20; ++k) {
          auto a = co_await data.async_lock();
          const int before = *a;
          if (k % 4 == 0) co_await async_yield();
          *a = before + 1;
        }
      }));
    auto full = spawn([&]() -> task<int> {
      auto a = co_await async_wait(data, [](int v) { return v == 400; });
      co_return *a;
    });
    for (auto& t : all) t.join();
    EXPECT_EQ(full.join(), 400);
    guarded<int, shared_mutex> shared{7};
    EXPECT_EQ(spawn([&]() -> task<int> {
                const auto a = co_await shared.async_read();
                const auto b = co_await shared.async_read();
                co_return *a + *b;
              }).join(),
              14);
  });
}

}  // namespace
}  // namespace thrum
