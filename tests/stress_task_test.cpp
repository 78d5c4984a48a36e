// Storms of tasks among fibers and threads: everything arrives, nobody is lost, whoever waits beside whom.
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

THRUM_STRESS_SUITE(task_storm);

task<> grow(int depth, int width, std::atomic<int>& leaves, wait_group& all) {
  if (depth == 0) {
    leaves.fetch_add(1, std::memory_order_relaxed);
  } else {
    all.add(width);
    for (int i = 0; i < width; ++i) go(grow(depth - 1, width, leaves, all));
  }
  all.done();
  co_return;
}

TEST_P(task_storm, every_leaf_of_a_tree_of_tasks_runs_once) {
  run([] {
    repeat([] {
      std::atomic<int> leaves{0};
      wait_group all(1);
      go(grow(slow_build ? 5 : 7, 4, leaves, all));
      all.wait();
      EXPECT_EQ(leaves.load(), slow_build ? 1024 : 16384);
    });
  });
}

task<long> sum_of_tree(int depth) {
  if (depth == 0) co_return 1;
  auto a = spawn(sum_of_tree(depth - 1)), b = spawn(sum_of_tree(depth - 1));
  const long left = co_await a.async_join(), right = co_await b.async_join();
  co_return left + right;
}

TEST_P(task_storm, joining_a_tree_of_tasks_sees_what_each_has_written) {
  run([] { repeat([] { EXPECT_EQ(spawn(sum_of_tree(slow_build ? 7 : 10)).join(), slow_build ? 128 : 1024); }); });
}

TEST_P(task_storm, a_channel_loses_and_doubles_nothing_between_fibers_tasks_and_threads) {
  run([] {
    repeat([] {
      for (const std::size_t capacity : {0u, 3u}) {
        channel<int> ch(capacity);
        const int each = 30 * scale;
        std::atomic<long> sum{0}, received{0};
        fiber senders = spawn([&] {
          crowd(
              6,
              [&] {
                for (int i = 1; i <= each; ++i) ch.send(i);
              },
              [&]() -> task<> {
                for (int i = 1; i <= each; ++i) co_await ch.async_send(i);
              });
          ch.close();
        });
        const auto take = [&](int v) {
          sum += v;
          ++received;
        };
        crowd(
            6,
            [&] {
              while (auto v = ch.receive()) take(*v);
            },
            [&]() -> task<> {
              while (auto v = co_await ch.async_receive()) take(*v);
            });
        senders.join();
        EXPECT_EQ(received, 6L * each);
        EXPECT_EQ(sum, 6L * each * (each + 1) / 2);
      }
    });
  });
}

TEST_P(task_storm, timed_channel_calls_of_tasks_happen_or_do_not) {
  run([] {
    repeat([] {
      channel<int> ch(0);
      std::atomic<long> sent{0}, received{0};
      std::atomic<bool> stop{false};
      std::vector<task_handle<void>> all;
      for (int i = 0; i < 4; ++i) {
        all.push_back(spawn([&]() -> task<> {
          for (int k = 0; k < 20 * scale; ++k)
            if (co_await ch.async_send_for(k, std::chrono::microseconds(k % 50))) ++sent;
        }));
        all.push_back(spawn([&]() -> task<> {
          for (int k = 0; !stop; ++k)
            if (co_await ch.async_receive_for(std::chrono::microseconds(k % 70))) ++received;
        }));
      }
      for (std::size_t i = 0; i < all.size(); i += 2) all[i].join();
      stop = true;
      for (std::size_t i = 1; i < all.size(); i += 2) all[i].join();
      EXPECT_EQ(sent, received);
    });
  });
}

TEST_P(task_storm, a_mutex_excludes_fibers_tasks_and_threads) {
  run([] {
    repeat([] {
      mutex m;
      long counter = 0;
      const int each = 50 * scale;
      crowd(
          9,
          [&] {
            for (int i = 0; i < each; ++i) {
              std::lock_guard hold(m);
              ++counter;
            }
          },
          [&]() -> task<> {
            for (int i = 0; i < each; ++i) {
              auto hold = co_await m.async_scoped_lock();
              ++counter;
              if (i % 16 == 0) co_await async_yield();  // While it holds the mutex.
            }
          });
      EXPECT_EQ(counter, 9L * each);
    });
  });
}

// Waiters that give up, beside others that starve: whoever is handed the mutex must know it.
TEST_P(task_storm, a_mutex_that_starves_its_waiters_is_never_handed_to_nobody) {
  run([] {
    repeat([] {
      timed_mutex m;
      long counter = 0, expected = 0;
      std::mutex sums;
      const auto add = [&](long n) {
        std::lock_guard hold(sums);
        expected += n;
      };
      crowd(
          8,
          [&] {
            long mine = 0;
            for (int i = 0; i < 2 * scale; ++i) {
              if (i % 2 == 0)
                m.lock();
              else if (!m.try_lock_for(std::chrono::microseconds(100 * i % 2500)))
                continue;
              ++counter;
              ++mine;
              spin(300us);  // So that others wait for more than a millisecond.
              m.unlock();
            }
            add(mine);
          },
          [&]() -> task<> {
            long mine = 0;
            for (int i = 0; i < 2 * scale; ++i) {
              if (i % 2 == 0)
                co_await m.async_lock();
              else if (!co_await m.async_try_lock_for(std::chrono::microseconds(100 * i % 2500)))
                continue;
              ++counter;
              ++mine;
              m.unlock();
            }
            add(mine);
          });
      EXPECT_EQ(counter, expected);
    });
  });
}

TEST_P(task_storm, a_shared_mutex_keeps_readers_and_writers_apart) {
  run([] {
    repeat([] {
      shared_mutex m;
      long a = 0, b = 0;
      std::atomic<int> torn{0};
      const int each = 30 * scale;
      crowd(
          9,
          [&] {
            for (int i = 0; i < each; ++i) {
              if (i % 4 == 0) {
                std::lock_guard hold(m);
                ++a, ++b;
              } else {
                std::shared_lock hold(m);
                if (a != b) ++torn;
              }
            }
          },
          [&]() -> task<> {
            for (int i = 0; i < each; ++i) {
              if (i % 4 == 0) {
                co_await m.async_lock();
                ++a, ++b;
                m.unlock();
              } else {
                co_await m.async_lock_shared();
                if (a != b) ++torn;
                if (i % 16 == 1) co_await async_yield();
                m.unlock_shared();
              }
            }
          });
      EXPECT_EQ(torn, 0);
      EXPECT_EQ(a, b);
    });
  });
}

TEST_P(task_storm, permits_are_neither_lost_nor_made_when_tasks_give_up) {
  run([] {
    repeat([] {
      counting_semaphore<> s(3);
      std::atomic<int> inside{0}, most{0};
      const auto in = [&] {
        const int now = ++inside;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
      };
      const auto out = [&] {
        --inside;
        s.release();
      };
      crowd(
          9,
          [&] {
            for (int i = 0; i < 10 * scale; ++i) {
              if (!s.try_acquire_for(std::chrono::microseconds(i % 200))) continue;
              in();
              out();
            }
          },
          [&]() -> task<> {
            for (int i = 0; i < 10 * scale; ++i) {
              if (!co_await s.async_try_acquire_for(std::chrono::microseconds(i % 200))) continue;
              in();
              co_await async_yield();
              out();
            }
          });
      EXPECT_LE(most, 3);
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.try_acquire());
      EXPECT_FALSE(s.try_acquire());
    });
  });
}

TEST_P(task_storm, selects_of_fibers_tasks_and_threads_take_each_element_once) {
  run([] {
    repeat([] {
      channel<int> a(0), b(2), end(0);
      const int each = 20 * scale;
      std::atomic<long> sum{0};
      const auto take = [&](std::optional<int> v) { sum += *v; };
      fiber takers = spawn([&] {
        crowd(
            6,
            [&] {
              for (bool done = false; !done;)
                select(a.on_receive(take), b.on_receive(take), end.on_receive([&](auto) { done = true; }));
            },
            [&]() -> task<> {
              for (bool done = false; !done;)
                co_await async_select(a.on_receive(take), b.on_receive(take),
                                      end.on_receive([&](auto) { done = true; }));
            });
      });
      crowd(
          6,
          [&] {
            for (int i = 1; i <= each; ++i) select(a.on_send(i, [] {}), b.on_send(i, [] {}));
          },
          [&]() -> task<> {
            for (int i = 1; i <= each; ++i) co_await async_select(a.on_send(i, [] {}), b.on_send(i, [] {}));
          });
      while (auto v = b.try_receive()) sum += *v;
      end.close();
      takers.join();
      EXPECT_EQ(sum, 6L * each * (each + 1) / 2);
    });
  });
}

TEST_P(task_storm, stopping_tasks_races_with_their_end) {
  run([] {
    repeat([] {
      std::vector<task_handle<void>> all;
      event e;
      for (int i = 0; i < 20 * scale; ++i)
        all.push_back(spawn([&, i]() -> task<> {
          if (i % 3 == 0) co_await async_sleep_for(std::chrono::microseconds(i % 40));
          if (i % 3 == 1) co_await e.async_wait();
        }));
      fiber setter = spawn([&] { e.set(); });
      for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].request_stop();
        if (i % 2 == 0) all[i].join();
      }
      setter.join();
      all.clear();
    });
  });
}

TEST_P(task_storm, scopes_of_tasks_end_whole) {
  run([] {
    repeat([] {
      std::atomic<int> alive{0};
      const auto child = [&](int i) -> task<> {
        ++alive;
        const struct leaving {
          std::atomic<int>& n;
          ~leaving() { --n; }
        } l{alive};
        if (i == 7) throw std::runtime_error("seven");
        co_await async_sleep_for(i % 2 == 0 ? std::chrono::nanoseconds(24h) : std::chrono::nanoseconds(10us));
      };
      auto t = spawn([&]() -> task<bool> {
        bool thrown = false;
        try {
          co_await async_with_scope([&](scope& s) -> task<> {
            for (int i = 0; i < 20; ++i) go_in(s, child(i));
            co_return;
          });
        } catch (const std::runtime_error&) {
          thrown = true;
        }
        co_return thrown&& alive == 0;
      });
      EXPECT_TRUE(t.join());
    });
  });
}

}  // namespace
}  // namespace thrum::stress
