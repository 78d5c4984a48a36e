// What condition_variable.hpp promises.
#include <thrum/condition_variable.hpp>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class condition_variable_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, condition_variable_test, worker_counts, count_name);

TEST_P(condition_variable_test, waits_until_the_predicate_holds) {
  run([] {
    mutex m;
    condition_variable changed;
    int stage = 0;
    fiber f = spawn([&] {
      std::unique_lock hold(m);
      changed.wait(hold, [&] { return stage == 2; });
      EXPECT_TRUE(hold.owns_lock());
      stage = 3;
    });
    for (int i = 1; i <= 2; ++i) {
      settle();
      std::lock_guard hold(m);
      stage = i;
      changed.notify_all();
    }
    f.join();
    EXPECT_EQ(stage, 3);
  });
}

TEST_P(condition_variable_test, notify_one_wakes_one_in_fifo_order) {
  run([] {
    mutex m;
    condition_variable changed;
    std::vector<int> order;
    std::vector<fiber> waiters;
    int waiting = 0;
    for (int i = 0; i < 5; ++i) {
      waiters.push_back(spawn([&, i] {
        std::unique_lock hold(m);
        ++waiting;
        changed.wait(hold);
        order.push_back(i);
      }));
      EXPECT_TRUE(eventually([&] {
        std::lock_guard hold(m);
        return waiting == i + 1;
      }));
    }
    for (std::size_t i = 1; i <= 5; ++i) {
      changed.notify_one();
      EXPECT_TRUE(eventually([&] {
        std::lock_guard hold(m);
        return order.size() >= i;
      }));
      settle();
      std::lock_guard hold(m);
      EXPECT_EQ(order.size(), i);
    }
    for (auto& w : waiters) w.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  });
}

TEST_P(condition_variable_test, notify_all_wakes_everybody) {
  run([] {
    mutex m;
    condition_variable changed;
    int waiting = 0, woken = 0;
    scope s;
    for (int i = 0; i < 50; ++i) {
      s.go([&] {
        std::unique_lock hold(m);
        ++waiting;
        changed.wait(hold);
        ++woken;
      });
    }
    EXPECT_TRUE(eventually([&] {
      std::lock_guard hold(m);
      return waiting == 50;
    }));
    changed.notify_all();
    s.join();
    EXPECT_EQ(woken, 50);
  });
}

TEST_P(condition_variable_test, a_notification_without_waiters_is_not_kept) {
  run([] {
    mutex m;
    condition_variable changed;
    changed.notify_one();
    changed.notify_all();
    std::unique_lock hold(m);
    EXPECT_EQ(changed.wait_for(hold, 3ms), std::cv_status::timeout);
  });
}

TEST_P(condition_variable_test, timed_waits_hold_the_mutex_again) {
  run([] {
    mutex m;
    condition_variable changed;
    std::unique_lock hold(m);
    const auto until = clock::now() + 3ms;
    EXPECT_EQ(changed.wait_until(hold, until), std::cv_status::timeout);
    EXPECT_GE(clock::now(), until);
    EXPECT_FALSE(changed.wait_for(hold, 1ms, [] { return false; }));
    EXPECT_TRUE(changed.wait_for(hold, 1ms, [] { return true; }));
    EXPECT_FALSE(changed.wait_until(hold, until, [] { return false; }));
    fiber f = spawn([&] { EXPECT_FALSE(m.try_lock()); });
    f.join();
    EXPECT_TRUE(hold.owns_lock());
  });
}

TEST_P(condition_variable_test, a_timed_wait_that_is_notified_says_so) {
  run([] {
    mutex m;
    condition_variable changed;
    bool ready = false;
    fiber f = spawn([&] {
      std::unique_lock hold(m);
      EXPECT_TRUE(changed.wait_for(hold, hang_guard, [&] { return ready; }));
    });
    settle();
    {
      std::lock_guard hold(m);
      ready = true;
    }
    changed.notify_one();
    f.join();
  });
}

TEST_P(condition_variable_test, a_cancelled_wait_reacquires_the_mutex_before_it_throws) {
  run([] {
    mutex m;
    condition_variable changed;
    bool held = false;
    fiber f = spawn([&] {
      std::unique_lock hold(m);
      try {
        changed.wait(hold, [] { return false; });
      } catch (const cancelled&) {
        held = hold.owns_lock();
        scope shielded{.shield = true};
        fiber other = spawn([&] { EXPECT_FALSE(m.try_lock()); });
        other.join();
        throw;
      }
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_TRUE(held);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// Two wait, one of them is stopped while one token is announced: either the stopped one took it, or the other did.
TEST_P(condition_variable_test, a_cancelled_waiter_swallows_no_notification) {
  run([] {
    for (int i = 0; i < 100; ++i) {
      mutex m;
      condition_variable changed;
      std::atomic<int> taken{0};
      int waiting = 0;
      const auto take = [&] {
        std::unique_lock hold(m);
        ++waiting;
        changed.wait(hold);
        ++taken;
      };
      fiber stopped = spawn(take), kept = spawn(take);
      EXPECT_TRUE(eventually([&] {
        std::lock_guard hold(m);
        return waiting == 2;
      }));
      fiber stopper = spawn([&] { stopped.request_stop(); });
      changed.notify_one();
      EXPECT_TRUE(eventually([&] { return taken == 1; }));
      stopper.join();
      stopped.join();
      changed.notify_one();
      kept.join();
      EXPECT_GE(taken, 1);
    }
  });
}

TEST_P(condition_variable_test, works_between_fibers_and_threads) {
  run([] {
    mutex m;
    condition_variable changed;
    int turn = 0;
    const auto play = [&](int mine) {
      for (int i = 0; i < 100; ++i) {
        std::unique_lock hold(m);
        changed.wait(hold, [&] { return turn == mine; });
        turn = 1 - mine;
        changed.notify_all();
      }
    };
    std::thread t([&] { play(1); });
    fiber f = spawn([&] { play(0); });
    f.join();
    t.join();
    EXPECT_EQ(turn, 0);
  });
}

TEST_P(condition_variable_test, a_thread_can_wait_with_a_timeout) {
  std::thread t([] {
    mutex m;
    condition_variable changed;
    std::unique_lock hold(m);
    EXPECT_EQ(changed.wait_for(hold, 2ms), std::cv_status::timeout);
    EXPECT_TRUE(hold.owns_lock());
  });
  t.join();
}

class condition_variable_any_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, condition_variable_any_test, worker_counts, count_name);

TEST_P(condition_variable_any_test, works_with_any_lock) {
  run([] {
    shared_mutex m;
    condition_variable_any changed;
    int value = 0;
    scope all;
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        std::shared_lock hold(m);
        changed.wait(hold, [&] { return value == 2; });
        EXPECT_TRUE(hold.owns_lock());
      });
    for (int i = 0; i < 2; ++i) {
      settle();
      {
        std::unique_lock hold(m);
        ++value;
      }
      changed.notify_all();
    }
    all.join();
  });
}

TEST_P(condition_variable_any_test, no_notification_between_unlock_and_wait_is_missed) {
  run([] {
    mutex m;
    condition_variable_any changed;
    for (int i = 0; i < 300; ++i) {
      bool set = false;
      fiber f = spawn([&] {
        std::unique_lock hold(m);
        changed.wait(hold, [&] { return set; });
      });
      {
        std::lock_guard hold(m);
        set = true;
      }
      changed.notify_one();
      f.join();
    }
  });
}

TEST_P(condition_variable_any_test, timed_waits_end_and_relock) {
  run([] {
    recursive_mutex m;
    condition_variable_any changed;
    std::unique_lock hold(m);
    EXPECT_EQ(changed.wait_for(hold, 1ms), std::cv_status::timeout);
    EXPECT_FALSE(changed.wait_for(hold, 1ms, [] { return false; }));
    EXPECT_TRUE(changed.wait_until(hold, clock::now(), [] { return true; }));
    EXPECT_TRUE(hold.owns_lock());
  });
}

TEST_P(condition_variable_any_test, relocks_before_cancelled_is_thrown) {
  run([] {
    mutex m;
    condition_variable_any changed;
    fiber f = spawn([&] {
      std::unique_lock hold(m);
      try {
        changed.wait(hold);
      } catch (const cancelled&) {
        EXPECT_TRUE(hold.owns_lock());
        EXPECT_FALSE(m.try_lock());
        throw;
      }
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

}  // namespace
}  // namespace thrum
