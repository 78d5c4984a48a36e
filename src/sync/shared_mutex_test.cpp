// What shared_mutex.hpp promises.
#include <thrum/shared_mutex.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
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
    std::atomic<int> readers{0};
    latch all_read(8);
    scope all;
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        all_read.wait();
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
          ++readers;
          EXPECT_EQ(a, b);
          if (k == 0) all_read.arrive_and_wait();
          if (k % 8 == 0) this_fiber::yield();
          --readers;
        }
      });
    all.join();
    EXPECT_EQ(a, 400);
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

// Without newcomers who overtake: first come, first served, and readers that stand together go together. A writer may
// lose its turn to who is behind it just when it notices that it has waited for long: not every time.
TEST_P(shared_mutex_test, those_who_wait_are_served_in_order) {
  run([] {
    const auto in_order = [] {
      shared_mutex m;
      std::string order;
      mutex guards_order;
      std::vector<fiber> all;
      const auto enter = [&](char who) {
        const std::lock_guard hold(guards_order);
        order += who;
      };
      const auto write = [&](char who) {
        all.push_back(spawn([&, who] {
          std::unique_lock hold(m);
          enter(who);
        }));
        settle();
      };
      latch both_read(2);
      const auto read = [&] {
        all.push_back(spawn([&] {
          std::shared_lock hold(m);
          enter('r');
          both_read.arrive_and_wait();
        }));
        settle();
      };
      m.lock();
      write('1');
      read();
      read();
      write('2');
      m.unlock();
      for (auto& f : all) f.join();
      EXPECT_TRUE(m.try_lock());
      m.unlock();
      return order == "1rr2";
    };
    int attempts = 1;
    while (!in_order()) ASSERT_LT(++attempts, 100);
  });
}

// Two readers of whom one always holds the mutex, as far as it depends on them.
class relay {
 public:
  explicit relay(shared_mutex& m) : m_(m) {}

  void read_until(const std::atomic<bool>& over) {
    while (!over) {
      std::shared_lock hold(m_);
      ++reading_;
      for (int i = 0; reading_ < 2 && !over && i < 10'000; ++i) this_fiber::yield();
      --reading_;
    }
  }

 private:
  shared_mutex& m_;
  std::atomic<int> reading_{0};
};

template <class Write>
void expect_written_beside_readers(Write write) {
  shared_mutex m;
  relay readers(m);
  std::atomic<bool> written{false};
  scope all;
  for (int i = 0; i < 2; ++i) all.go([&] { readers.read_until(written); });
  settle();
  write(m, written);
  all.join();
  EXPECT_TRUE(written);
}

TEST_P(shared_mutex_test, a_fiber_gets_to_write_beside_readers_that_overlap) {
  run([] {
    expect_written_beside_readers([](shared_mutex& m, std::atomic<bool>& written) {
      const std::lock_guard hold(m);
      written = true;
    });
  });
}

TEST_P(shared_mutex_test, a_task_gets_to_write_beside_readers_that_overlap) {
  run([] {
    expect_written_beside_readers([](shared_mutex& m, std::atomic<bool>& written) {
      spawn([](shared_mutex& mutex, std::atomic<bool>& done) -> task<> {
        co_await mutex.async_lock();
        done = true;
        mutex.unlock();
      }(m, written))
          .join();
    });
  });
}

TEST_P(shared_mutex_test, a_thread_gets_to_write_beside_readers_that_overlap) {
  run([] {
    expect_written_beside_readers([](shared_mutex& m, std::atomic<bool>& written) {
      std::thread writer([&] {
        const std::lock_guard hold(m);
        written = true;
      });
      while (!written) this_fiber::yield();
      writer.join();
    });
  });
}

// Several writers that starve, of all kinds, in any order: whoever is served first must not make the others forgotten.
TEST_P(shared_mutex_test, all_who_are_to_write_get_their_turn_beside_readers_that_overlap) {
  run([] {
    shared_mutex m;
    relay readers(m);
    constexpr int writers = 8;
    int writes = 0;
    std::atomic<bool> over{false};
    const auto count = [&] {
      if (++writes == writers) over = true;
      m.unlock();
    };
    scope all;
    for (int i = 0; i < 2; ++i) all.go([&] { readers.read_until(over); });
    settle();
    for (int i = 0; i < writers; ++i) {
      if (i % 4 < 2) {
        all.go([&] {
          m.lock();
          count();
        });
      } else {
        go_in(all, [](shared_mutex& mutex, decltype(count)& counted) -> task<> {
          co_await mutex.async_lock();
          counted();
        }(m, count));
      }
      if (i % 3 == 0) this_fiber::sleep_for(1ms);
    }
    all.join();
    EXPECT_EQ(writes, writers);
  });
}

TEST_P(shared_mutex_test, a_reader_gets_in_beside_relentless_writers) {
  run([] {
    shared_mutex m;
    std::atomic<bool> read{false};
    scope all;
    for (int i = 0; i < 2; ++i)
      all.go([&] {
        while (!read) {
          const std::lock_guard hold(m);
          this_fiber::yield();
        }
      });
    all.go([&] {
      const std::shared_lock hold(m);
      read = true;
    });
    all.join();
    EXPECT_TRUE(read);
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
