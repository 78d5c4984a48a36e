// Storms of spawning, waking, stealing and parking: everything that is started runs, everything that is sent
// arrives.
#include <functional>
#include <latch>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <vector>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

THRUM_STRESS_SUITE(spawn_storm);

void grow(int depth, int width, std::atomic<int>& leaves, wait_group& all) {
  if (depth == 0) {
    leaves.fetch_add(1, std::memory_order_relaxed);
    return all.done();
  }
  all.add(width);
  for (int i = 0; i < width; ++i) go([=, &leaves, &all] { grow(depth - 1, width, leaves, all); });
  all.done();
}

TEST_P(spawn_storm, every_leaf_of_a_tree_of_fibers_runs_once) {
  run([] {
    repeat([] {
      std::atomic<int> leaves{0};
      wait_group all(1);
      grow(slow_build ? 5 : 7, 4, leaves, all);
      all.wait();
      EXPECT_EQ(leaves.load(), slow_build ? 1024 : 16384);
    });
  });
}

long sum_of_tree(int depth) {
  if (depth == 0) return 1;
  long left = 0, right = 0;
  fiber a = spawn([&] { left = sum_of_tree(depth - 1); });
  fiber b = spawn([&] { right = sum_of_tree(depth - 1); });
  a.join();
  b.join();
  return left + right;
}

TEST_P(spawn_storm, joining_a_tree_of_fibers_sees_what_each_has_written) {
  run([] { repeat([] { EXPECT_EQ(sum_of_tree(slow_build ? 7 : 10), slow_build ? 128 : 1024); }); });
}

// One way or another the owner of a handle learns of the end, or never asks.
void end_somehow(fiber child, bool fails, dice& d) {
  const auto join = [&] {
    if (fails)
      EXPECT_THROW(child.join(), std::runtime_error);
    else
      child.join();
  };
  switch (d.below(fails ? 3 : 4)) {
    case 0:
      return join();
    case 1:
      try {
        scope hurry({.deadline = std::chrono::microseconds(d.below(30))});
        try {
          child.join();
        } catch (const std::runtime_error&) {
        }
        hurry.join();
      } catch (const timed_out&) {  // The join was cancelled, perhaps, and the fiber is still ours.
        if (child.joinable()) join();
      }
      return;
    case 2:
      return;  // The destructor stops and joins.
    default:
      child.detach();
  }
}

TEST_P(spawn_storm, the_ends_of_fibers_race_with_joins_cancelled_joins_and_detaching) {
  run([] {
    repeat([] {
      std::atomic<int> started{0}, ended{0};
      std::vector<fiber> parents;
      for (int p = 0; p < 6; ++p)
        parents.push_back(spawn([&, p] {
          dice d(static_cast<std::uint64_t>(p) + 1);
          for (int i = 0; i < 20 * scale; ++i) {
            const bool fails = d.one_in(4);
            const auto turns = d.below(4);
            started.fetch_add(1, std::memory_order_relaxed);
            end_somehow(spawn([&ended, fails, turns] {
                          scope shielded({.shield = true});
                          for (std::uint32_t t = 0; t < turns; ++t) this_fiber::yield();
                          ended.fetch_add(1, std::memory_order_release);
                          if (fails) throw std::runtime_error("on purpose");
                        }),
                        fails, d);
          }
        }));
      for (auto& p : parents) p.join();
      while (ended.load(std::memory_order_acquire) < started.load()) this_fiber::yield();
    });
  });
}

TEST_P(spawn_storm, threads_join_what_ends_at_that_moment) {
  run([] {
    repeat([] {
      std::vector<fiber> children;
      for (int i = 0; i < 20; ++i)
        children.push_back(spawn([i] {
          for (int t = 0; t < i % 3; ++t) this_fiber::yield();
        }));
      std::vector<std::thread> threads;
      for (int t = 0; t < 2; ++t)
        threads.emplace_back([&, t] {
          for (std::size_t i = static_cast<std::size_t>(t); i < children.size(); i += 2) children[i].join();
        });
      this_fiber::sleep_for(1us);
      for (auto& t : threads) t.join();
    });
  });
}

TEST_P(spawn_storm, threads_and_fibers_spawn_into_one_runtime) {
  runtime rt({.workers = GetParam()});
  repeat([&] {
    std::atomic<int> ran{0};
    std::vector<std::thread> threads;
    constexpr int each = 100 * scale;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < each; ++i) rt.go([&] { ran.fetch_add(1, std::memory_order_release); });
      });
    }
    rt.run([&] {
      for (int i = 0; i < each; ++i) go([&] { ran.fetch_add(1, std::memory_order_release); });
    });
    for (auto& t : threads) t.join();
    while (ran.load() < 4 * each) std::this_thread::yield();
    EXPECT_EQ(ran.load(), 4 * each);
  });
}

// A thread that starts a fiber and waits for it, with nothing else to keep the workers awake: the wake-up of
// each single fiber counts.
TEST_P(spawn_storm, a_fiber_that_a_thread_starts_wakes_a_sleeping_worker) {
  runtime rt({.workers = GetParam()});
  repeat([&] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50 * scale; ++i) {
          int result = 0;
          rt.spawn([&] { result = i + 1; }).join();
          ASSERT_EQ(result, i + 1);
        }
      });
    }
    for (auto& t : threads) t.join();
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(wake_storm);

struct traffic {
  explicit traffic(std::size_t capacity) : values(capacity) {}
  void produce(int id, int count) {
    for (int i = 0; i < count; ++i) {
      const auto v = static_cast<std::uint64_t>(id) * 1'000'000 + static_cast<std::uint64_t>(i);
      sent.fetch_add(v, std::memory_order_relaxed);
      values.send(v);
    }
  }
  void consume() {
    while (auto v = values.receive()) {
      received.fetch_add(*v, std::memory_order_relaxed);
      count.fetch_add(1, std::memory_order_relaxed);
    }
  }
  channel<std::uint64_t> values;
  std::atomic<std::uint64_t> sent{0}, received{0};
  std::atomic<int> count{0};
};

void exchange_among_fibers(std::size_t capacity, int producers, int consumers, int each) {
  traffic t(capacity);
  wait_group sending(producers), receiving(consumers);
  for (int c = 0; c < consumers; ++c) go([&] { t.consume(), receiving.done(); });
  for (int p = 0; p < producers; ++p) go([&, p] { t.produce(p, each), sending.done(); });
  sending.wait();
  t.values.close();
  receiving.wait();
  EXPECT_EQ(t.sent.load(), t.received.load());
  EXPECT_EQ(t.count.load(), producers * each);
}

TEST_P(wake_storm, what_producers_send_consumers_receive) {
  run([] {
    repeat([] {
      for (const std::size_t capacity : {0, 1, 7, 100}) {
        exchange_among_fibers(capacity, 8, 8, 20 * scale);
        exchange_among_fibers(capacity, 1, 8, 20 * scale);
        exchange_among_fibers(capacity, 8, 1, 20 * scale);
      }
    });
  });
}

TEST_P(wake_storm, threads_and_fibers_exchange_through_one_channel) {
  run([] {
    repeat([] {
      for (const std::size_t capacity : {0, 3}) {
        traffic t(capacity);
        std::vector<std::thread> senders, receivers;
        wait_group sending(2), receiving(2);
        for (int i = 0; i < 2; ++i) {
          receivers.emplace_back([&] { t.consume(); });
          senders.emplace_back([&, i] { t.produce(i, 20 * scale); });
          go([&] { t.consume(), receiving.done(); });
          go([&, i] { t.produce(10 + i, 20 * scale), sending.done(); });
        }
        sending.wait();
        for (auto& s : senders) s.join();  // A system call that blocks the worker: the monitor has to see to the rest.
        t.values.close();
        receiving.wait();
        for (auto& r : receivers) r.join();
        EXPECT_EQ(t.sent.load(), t.received.load());
        EXPECT_EQ(t.count.load(), 4 * 20 * scale);
      }
    });
  });
}

TEST_P(wake_storm, pairs_that_wake_each_other_never_miss_a_turn) {
  run([] {
    repeat([] {
      constexpr int pairs = 20, turns = 10 * scale;
      wait_group all(2 * pairs);
      for (int p = 0; p < pairs; ++p) {
        channel<int> ping(0), pong(0);
        go([=, &all]() mutable {
          for (int i = 0; i < turns; ++i) {
            ping.send(i);
            EXPECT_EQ(pong.receive(), i);
          }
          all.done();
        });
        go([=, &all]() mutable {
          for (int i = 0; i < turns; ++i) {
            EXPECT_EQ(ping.receive(), i);
            pong.send(i);
          }
          all.done();
        });
      }
      all.wait();
    });
  });
}

// Bursts of short fibers with pauses: workers go to sleep and are woken all the time, and steal what others
// have.
TEST_P(wake_storm, bursts_between_pauses_are_served_to_the_last_fiber) {
  run([] {
    dice random(1);
    repeat([&] {
      for (int burst = 0; burst < 20; ++burst) {
        wait_group all;
        const int n = 1 + static_cast<int>(random.below(50));
        all.add(n);
        for (int i = 0; i < n; ++i) {
          go([&all, i] {
            if (i % 3 == 0) this_fiber::yield();
            if (i % 7 == 0) spin(20us);
            all.done();
          });
        }
        all.wait();
        this_fiber::sleep_for(std::chrono::microseconds(random.below(200)));
      }
    });
  });
}

TEST_P(wake_storm, fibers_that_only_yield_all_get_their_turns) {
  run([] {
    repeat([] {
      constexpr int fibers = 50, turns = 10 * scale;
      wait_group all(fibers);
      std::atomic<int> made{0};
      for (int f = 0; f < fibers; ++f) {
        go([&] {
          for (int i = 0; i < turns; ++i) {
            made.fetch_add(1, std::memory_order_relaxed);
            this_fiber::yield();
          }
          all.done();
        });
      }
      all.wait();
      EXPECT_EQ(made.load(), fibers * turns);
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(lock_storm);

TEST_P(lock_storm, a_mutex_excludes_fibers_and_threads_alike) {
  run([] {
    repeat([] {
      mutex m;
      long counter = 0;
      constexpr int fibers = 16, threads = 2, each = 30 * scale;
      const auto work = [&] {
        for (int i = 0; i < each; ++i) {
          std::lock_guard hold(m);
          const long before = counter;
          if (i % 16 == 0) this_fiber::yield();  // Parks while holding it.
          counter = before + 1;
        }
      };
      wait_group all(fibers);
      for (int f = 0; f < fibers; ++f) go([&] { work(), all.done(); });
      std::vector<std::thread> outside;
      for (int t = 0; t < threads; ++t) outside.emplace_back(work);
      all.wait();
      for (auto& t : outside) t.join();
      EXPECT_EQ(counter, (fibers + threads) * each);
    });
  });
}

TEST_P(lock_storm, a_bounded_buffer_of_mutex_and_conditions_loses_nothing) {
  run([] {
    repeat([] {
      mutex m;
      condition_variable not_empty, not_full;
      int stored = 0;
      long taken = 0;
      constexpr int capacity = 3, fibers = 8, each = 20 * scale;
      const auto put = [&] {
        for (int i = 0; i < each; ++i) {
          std::unique_lock hold(m);
          not_full.wait(hold, [&] { return stored < capacity; });
          ++stored;
          not_empty.notify_one();
        }
      };
      const auto take = [&] {
        for (int i = 0; i < each; ++i) {
          std::unique_lock hold(m);
          // Sometimes with a deadline that may strike at the same moment as the notification.
          while (stored == 0) not_empty.wait_for(hold, i % 3 ? 1h : std::chrono::hours(0) + 20us);
          --stored;
          ++taken;
          not_full.notify_one();
        }
      };
      wait_group all(2 * fibers);
      for (int f = 0; f < fibers; ++f) go([&] { put(), all.done(); });
      for (int f = 0; f < fibers; ++f) go([&] { take(), all.done(); });
      std::thread putting(put), taking(take);
      all.wait();
      putting.join();
      taking.join();
      EXPECT_EQ(taken, (fibers + 1) * each);
      EXPECT_EQ(stored, 0);
    });
  });
}

TEST_P(lock_storm, notify_all_reaches_everybody_who_waits) {
  run([] {
    repeat([] {
      mutex m;
      condition_variable changed;
      int generation = 0, arrived = 0;
      constexpr int fibers = 20, generations = 5 * scale;
      wait_group all(fibers);
      for (int f = 0; f < fibers; ++f) {
        go([&] {
          for (int g = 0; g < generations; ++g) {
            std::unique_lock hold(m);
            if (++arrived == fibers) {
              arrived = 0;
              ++generation;
              changed.notify_all();
            } else {
              changed.wait(hold, [&] { return generation > g; });
            }
          }
          all.done();
        });
      }
      all.wait();
      EXPECT_EQ(generation, generations);
    });
  });
}

// Fibers and threads read and write; whoever is inside checks who else may be.
TEST_P(lock_storm, a_shared_mutex_lets_in_readers_or_one_writer) {
  run([] {
    shared_mutex m;
    std::atomic<int> readers{0}, writers{0};
    int a = 0, b = 0;
    std::atomic<int> writes{0};
    repeat([&] {
      const auto use = [&](dice d) {
        for (int k = 0; k < 200; ++k) {
          if (d.one_in(4)) {
            std::unique_lock hold(m);
            EXPECT_EQ(++writers, 1);
            EXPECT_EQ(readers, 0);
            ++a;
            if (d.one_in(16)) this_fiber::yield();
            ++b;
            ++writes;
            --writers;
          } else {
            std::shared_lock hold(m);
            ++readers;
            EXPECT_EQ(writers, 0);
            EXPECT_EQ(a, b);
            if (d.one_in(16)) this_fiber::yield();
            --readers;
          }
        }
      };
      std::vector<std::thread> threads;
      for (unsigned i = 0; i < 2; ++i) threads.emplace_back([&, i] { use(dice(i)); });
      scope all;
      for (unsigned i = 0; i < 6; ++i) all.go([&, i] { use(dice(100 + i)); });
      all.join();
      for (auto& t : threads) t.join();
    });
    EXPECT_EQ(a, writes);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// Whatever happens to those who wait, no permit is lost and none is made.
TEST_P(lock_storm, a_semaphore_keeps_its_permits_among_timeouts_and_cancellations) {
  run([] {
    counting_semaphore<> permits(3);
    std::atomic<int> inside{0};
    repeat([&] {
      const auto use = [&](dice d) {
        for (int k = 0; k < 100; ++k) {
          if (!permits.try_acquire_for(std::chrono::microseconds(d.below(200)))) continue;
          EXPECT_LE(++inside, 3);
          const struct leave {
            counting_semaphore<>& permits;
            std::atomic<int>& inside;
            ~leave() {
              --inside;
              permits.release();
            }
          } l{permits, inside};
          if (d.one_in(8)) this_fiber::sleep_for(20us);
        }
      };
      std::vector<fiber> fibers;
      for (unsigned i = 0; i < 8; ++i) fibers.push_back(spawn([&, i] { use(dice(i)); }));
      std::thread t([&] { use(dice(77)); });
      for (unsigned i = 0; i < 4; ++i) fibers[i].request_stop();
      for (auto& f : fibers) f.join();
      t.join();
    });
    EXPECT_EQ(inside, 0);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(permits.try_acquire());
    EXPECT_FALSE(permits.try_acquire());
  });
}

// ---------------------------------------------------------------------------------------------------------------
// A pick policy from outside, as a simulation brings one.

// Lets `choose` name one of so many.
class choosing_policy final : public sched::pick_policy {
 public:
  explicit choosing_policy(std::function<std::size_t(std::size_t)> choose) : choose_(std::move(choose)) {}

  sched::activity* pick(const sched::runnable_batch& found) noexcept override {
    for (auto* a = found.first; a; a = a->next) all_.push_back(a);
    if (all_.empty()) return nullptr;
    const auto chosen = all_.begin() + static_cast<std::ptrdiff_t>(choose_(all_.size()));
    auto* const a = *chosen;
    all_.erase(chosen);
    return a;
  }
  bool preempts(sched::activity&) noexcept override { return false; }

 private:
  std::vector<sched::activity*> all_;
  const std::function<std::size_t(std::size_t)> choose_;
};

TEST(pick_policy, decides_who_runs_next) {
  choosing_policy first([](std::size_t) { return std::size_t{0}; });  // Not the newest one.
  std::vector<int> order;
  {
    bare_runtime rt({.processors = 1}, &first);
    rt.run([&] {
      wait_group all(10);
      for (int i = 0; i < 10; ++i)
        go([&, i] {
          order.push_back(i);
          all.done();
        });
      all.wait();
    });
  }
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(pick_policy, of_a_dice_loses_nobody) {
  dice d(42);
  choosing_policy any([&d](std::size_t n) { return std::size_t{d.below(static_cast<std::uint32_t>(n))}; });
  bare_runtime rt({.processors = 1}, &any);
  rt.run([] {
    repeat([] { EXPECT_EQ(sum_of_tree(slow_build ? 6 : 8), slow_build ? 64 : 256); });
    channel<int> c(3);
    long sum = 0;
    wait_group all(8);
    for (int i = 0; i < 8; ++i)
      go([&] {
        for (int k = 1; k <= 100; ++k) {
          c.send(k);
          if (k % 3 == 0) this_fiber::yield();
          if (k % 50 == 0) this_fiber::sleep_for(1ms);
        }
        all.done();
      });
    for (int i = 0; i < 800; ++i) sum += *c.receive();
    all.wait();
    EXPECT_EQ(sum, 8 * 5050);
  });
}

}  // namespace
}  // namespace thrum::stress
