// What shared_mutex.hpp promises.
#include <thrum/shared_mutex.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class shared_mutex_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, shared_mutex_test, worker_counts, count_name);

TEST_P(shared_mutex_test, readers_share_and_writers_exclude) {
  run([] {
    shared_mutex m;
    int a = 0, b = 0;
    std::atomic<int> readers{0}, most{0};
    scope all;
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        for (int k = 0; k < 100; ++k) {
          std::unique_lock hold(m);
          EXPECT_EQ(readers, 0);
          ++a;
          if (k % 8 == 0) this_fiber::yield();
          ++b;
        }
      });
    for (int i = 0; i < 8; ++i)
      all.go([&] {
        for (int k = 0; k < 100; ++k) {
          std::shared_lock hold(m);
          const int now = ++readers;
          for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          EXPECT_EQ(a, b);
          if (k % 8 == 0) this_fiber::yield();
          --readers;
        }
      });
    all.join();
    EXPECT_EQ(a, 400);
    EXPECT_GT(most, 1);
  });
}

TEST_P(shared_mutex_test, trying_tells_whether_it_is_free) {
  run([] {
    shared_mutex m;
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock());
    m.unlock_shared();
    m.unlock_shared();
    EXPECT_TRUE(m.try_lock());
    EXPECT_FALSE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(m.try_lock_shared());
    m.unlock_shared();
  });
}

// First come, first served: neither side overtakes the other, and readers that stand together go together.
TEST_P(shared_mutex_test, is_first_come_first_served) {
  run([] {
    shared_mutex m;
    std::atomic<int> turn{0};
    std::vector<fiber> all;
    const auto write = [&](int at) {
      all.push_back(spawn([&, at] {
        std::unique_lock hold(m);
        EXPECT_EQ(turn++, at);
      }));
      settle();
    };
    latch both_read(2);
    const auto read = [&](int from) {
      all.push_back(spawn([&, from] {
        std::shared_lock hold(m);
        EXPECT_GE(turn, from);
        EXPECT_LT(turn++, from + 2);
        both_read.arrive_and_wait();
      }));
      settle();
    };
    m.lock_shared();
    write(0);
    EXPECT_FALSE(m.try_lock_shared());  // A writer waits.
    read(1);
    read(1);
    write(3);
    m.unlock_shared();
    for (auto& f : all) f.join();
    EXPECT_EQ(turn, 4);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(shared_mutex_test, locking_is_not_a_cancellation_point) {
  run([] {
    shared_mutex m;
    m.lock();
    std::atomic<int> locked{0};
    fiber reader = spawn([&] {
      std::shared_lock hold(m);
      ++locked;
    });
    fiber writer = spawn([&] {
      std::unique_lock hold(m);
      ++locked;
    });
    settle();
    reader.request_stop();
    writer.request_stop();
    settle();
    m.unlock();
    reader.join();
    writer.join();
    EXPECT_EQ(locked, 2);
  });
}

TEST_P(shared_mutex_test, may_be_destroyed_by_the_next_owner) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto* m = new shared_mutex;
      m->lock_shared();
      fiber f = spawn([m] {
        m->lock();
        m->unlock();
        delete m;
      });
      this_fiber::yield();
      m->unlock_shared();
      f.join();
    }
  });
}

TEST_P(shared_mutex_test, works_between_fibers_and_threads) {
  run([] {
    shared_mutex m;
    int a = 0, b = 0;
    const auto work = [&](int salt) {
      for (int k = 0; k < 300; ++k) {
        if ((k + salt) % 4 == 0) {
          std::unique_lock hold(m);
          ++a;
          ++b;
        } else {
          std::shared_lock hold(m);
          EXPECT_EQ(a, b);
        }
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&, i] { work(i); });
    scope all;
    for (int i = 0; i < 3; ++i) all.go([&, i] { work(i); });
    all.join();
    for (auto& t : threads) t.join();
    EXPECT_EQ(a, 6 * 75);
  });
}

}  // namespace
}  // namespace thrum
