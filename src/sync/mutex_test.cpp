// What mutex.hpp promises. Its misuse ends the process: tests/crash_misuse_test.cpp.
#include <thrum/mutex.hpp>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class mutex_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, mutex_test, worker_counts, count_name);

TEST_P(mutex_test, excludes_fibers_from_one_another) {
  run([] {
    mutex m;
    int inside = 0, total = 0;
    scope s;
    for (int i = 0; i < 16; ++i) {
      s.go([&] {
        for (int k = 0; k < 200; ++k) {
          std::lock_guard hold(m);
          EXPECT_EQ(++inside, 1);
          if (k % 16 == 0) this_fiber::yield();
          ++total;
          --inside;
        }
      });
    }
    s.join();
    EXPECT_EQ(total, 16 * 200);
  });
}

TEST_P(mutex_test, excludes_fibers_and_threads_from_one_another) {
  run([] {
    mutex m;
    int total = 0;
    const auto work = [&] {
      for (int k = 0; k < 500; ++k) {
        std::unique_lock hold(m);
        const int seen = total;
        if (k % 64 == 0) this_fiber::yield();
        total = seen + 1;
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back(work);
    scope s;
    for (int i = 0; i < 5; ++i) s.go(work);
    s.join();
    wait_group joined(1);
    std::thread joiner([&] {
      for (auto& t : threads) t.join();
      joined.done();
    });
    joined.wait();
    joiner.join();
    EXPECT_EQ(total, 8 * 500);
  });
}

TEST_P(mutex_test, try_lock_tells_whether_it_is_free) {
  run([] {
    mutex m;
    EXPECT_TRUE(m.try_lock());
    fiber f = spawn([&] { EXPECT_FALSE(m.try_lock()); });
    f.join();
    std::thread t([&] { EXPECT_FALSE(m.try_lock()); });
    t.join();
    m.unlock();
    std::unique_lock hold(m, std::try_to_lock);
    EXPECT_TRUE(hold.owns_lock());
  });
}

TEST_P(mutex_test, works_with_the_standard_locks) {
  run([] {
    mutex a, b;
    {
      std::scoped_lock both(a, b);
      fiber f = spawn([&] {
        EXPECT_FALSE(a.try_lock());
        EXPECT_FALSE(b.try_lock());
      });
      f.join();
    }
    std::unique_lock deferred(a, std::defer_lock);
    deferred.lock();
    deferred.unlock();
    EXPECT_TRUE(a.try_lock());
    a.unlock();
  });
}

// Deadlock avoidance of std::lock with contended mutexes.
TEST_P(mutex_test, several_can_be_locked_in_any_order) {
  run([] {
    mutex a, b;
    int n = 0;
    scope s;
    for (int i = 0; i < 8; ++i) {
      s.go([&, i] {
        for (int k = 0; k < 50; ++k) {
          if (i % 2) {
            std::scoped_lock both(a, b);
            ++n;
          } else {
            std::scoped_lock both(b, a);
            ++n;
          }
          this_fiber::yield();
        }
      });
    }
    s.join();
    EXPECT_EQ(n, 400);
  });
}

TEST_P(mutex_test, locking_is_not_a_cancellation_point) {
  run([] {
    mutex m;
    m.lock();
    bool locked = false;
    fiber f = spawn([&] {
      std::lock_guard hold(m);  // Contended, and stopped while it waits.
      locked = true;
      EXPECT_TRUE(this_fiber::stop_requested());
    });
    settle();
    f.request_stop();
    settle();
    m.unlock();
    f.join();
    EXPECT_TRUE(locked);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// One that has starved gets the mutex although others, with the mutex in their hands most of the time, take it again at
// once: only a hand-over ends that.
TEST_P(mutex_test, a_starving_waiter_gets_it_handed_over) {
  run([] {
    mutex m;
    std::atomic<bool> served{false};
    m.lock();
    fiber waiter = spawn([&] {
      std::lock_guard hold(m);
      served = true;
    });
    settle();
    m.unlock();
    EXPECT_TRUE(eventually([&] {
      std::lock_guard hold(m);
      this_fiber::sleep_for(a_moment);
      return served.load();
    }));
    waiter.join();
  });
}

TEST_P(mutex_test, starving_waiters_are_served_first_in_first_out) {
  run([] {
    mutex m;
    std::vector<int> order;
    std::vector<fiber> waiters;
    m.lock();
    for (int i = 0; i < 8; ++i) {
      waiters.push_back(spawn([&, i] {
        std::lock_guard hold(m);
        order.push_back(i);
        // Kept for longer than a millisecond: all who wait starve by then.
        this_fiber::sleep_for(3ms);
      }));
      until_the_others_wait();
    }
    m.unlock();
    for (auto& w : waiters) w.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7}));
  });
}

TEST_P(mutex_test, may_be_destroyed_by_the_next_owner) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto* m = new mutex;
      m->lock();
      fiber f = spawn([m] {
        m->lock();
        m->unlock();
        delete m;
      });
      this_fiber::yield();
      m->unlock();
      f.join();
    }
  });
}

class timed_mutex_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, timed_mutex_test, worker_counts, count_name);

TEST_P(timed_mutex_test, timed_locking_tells_whether_it_was_locked) {
  run([] {
    timed_mutex m;
    event gave_up;
    EXPECT_TRUE(m.try_lock_for(0s));
    fiber f = spawn([&] {
      const auto until = clock::now() + 3ms;
      EXPECT_FALSE(m.try_lock_until(until));
      EXPECT_GE(clock::now(), until);
      gave_up.set();
      std::unique_lock hold(m, hang_guard);
      EXPECT_TRUE(hold.owns_lock());
    });
    gave_up.wait();
    settle();
    m.unlock();
    f.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(timed_mutex_test, those_who_gave_up_leave_nothing_behind) {
  run([] {
    timed_mutex m;
    int total = 0, given_up = 0;
    scope all;
    for (int i = 0; i < 8; ++i)
      all.go([&, i] {
        for (int k = 0; k < 100; ++k) {
          std::unique_lock hold(m, std::chrono::microseconds(20 * i));
          if (!hold) {
            m.lock();
            ++given_up;
            m.unlock();
            continue;
          }
          const int seen = total;
          if (k % 8 == 0) this_fiber::sleep_for(50us);
          total = seen + 1;
        }
      });
    all.join();
    EXPECT_EQ(total + given_up, 800);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(timed_mutex_test, is_not_a_cancellation_point) {
  run([] {
    timed_mutex m;
    m.lock();
    bool locked = false;
    fiber f = spawn([&] {
      locked = m.try_lock_for(hang_guard);
      m.unlock();
    });
    settle();
    f.request_stop();
    settle();
    m.unlock();
    f.join();
    EXPECT_TRUE(locked);
  });
}

TEST(recursive_mutex, is_free_once_it_was_unlocked_as_often_as_it_was_locked) {
  with_workers(2, [] {
    recursive_mutex m;
    const auto is_free = [&] {
      bool was_free = false;
      fiber f = spawn([&] {
        was_free = m.try_lock();
        if (was_free) m.unlock();
      });
      f.join();
      return was_free;
    };
    m.lock();
    EXPECT_TRUE(m.try_lock());
    std::unique_lock third(m);
    third.unlock();
    EXPECT_FALSE(is_free());
    m.unlock();
    EXPECT_FALSE(is_free());
    m.unlock();
    EXPECT_TRUE(is_free());
  });
}

TEST(recursive_mutex, excludes_the_others) {
  with_workers(2, [] {
    recursive_mutex m;
    int n = 0;
    scope all;
    for (int i = 0; i < 8; ++i)
      all.go([&] {
        for (int k = 0; k < 100; ++k) {
          std::scoped_lock once(m);
          const int seen = n;
          std::scoped_lock twice(m);
          if (k % 16 == 0) this_fiber::yield();
          n = seen + 1;
        }
      });
    all.join();
    EXPECT_EQ(n, 800);
  });
}

}  // namespace
}  // namespace thrum
