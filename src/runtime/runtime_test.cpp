// What runtime.hpp promises: run, what remains when it returns, several runtimes, statistics, names and dumps.
#include <thrum/runtime.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

TEST(run, returns_what_the_main_function_returns) {
  EXPECT_EQ(thrum::run([] { return 7; }), 7);
  EXPECT_EQ(thrum::run([] {}), 0);
  EXPECT_EQ(thrum::run({.workers = 2}, [] { return std::string("text"); }), "text");
  EXPECT_EQ(*thrum::run([] { return std::make_unique<int>(3); }), 3);
}

TEST(run, throws_what_the_main_function_throws) {
  EXPECT_THROW(thrum::run([] { throw std::runtime_error("main"); }), std::runtime_error);
  EXPECT_THROW(thrum::run([]() -> int { throw 5; }), int);
}

TEST(run, runs_no_fiber_on_the_calling_thread) {
  const auto caller = std::this_thread::get_id();
  thrum::run({.workers = 2}, [&] {
    for (int i = 0; i < 50; ++i) {
      EXPECT_NE(std::this_thread::get_id(), caller);
      this_fiber::yield();
    }
    EXPECT_TRUE(this_fiber::in_fiber());
  });
  EXPECT_FALSE(this_fiber::in_fiber());
}

TEST(run, cancels_what_remains_and_waits_for_it) {
  for (unsigned workers : {1u, 2u, 4u}) {
    std::atomic<int> cancelled_ones{0};
    thrum::run({.workers = workers}, [&] {
      for (int i = 0; i < 50; ++i) {
        go([&] {
          try {
            this_fiber::sleep_for(24h);
          } catch (const cancelled&) {
            ++cancelled_ones;
            throw;
          }
        });
      }
    });
    EXPECT_EQ(cancelled_ones, 50);
  }
}

TEST(run, cancels_also_what_the_remaining_fibers_start) {
  std::atomic<int> ended{0};
  thrum::run({.workers = 2}, [&] {
    go([&] {
      try {
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        go([&] {
          try {
            this_fiber::sleep_for(24h);
          } catch (const cancelled&) {
            ++ended;
          }
        });
        ++ended;
      }
    });
  });
  EXPECT_EQ(ended, 2);
}

TEST(run, cancels_what_remains_also_when_the_main_function_throws) {
  std::atomic<bool> ended{false};
  EXPECT_THROW(thrum::run([&] {
                 go([&] {
                   try {
                     this_fiber::sleep_for(24h);
                   } catch (const cancelled&) {
                     ended = true;
                   }
                 });
                 throw 1;
               }),
               int);
  EXPECT_TRUE(ended);
}

TEST(runtime, run_may_be_called_several_times_and_by_several_threads) {
  runtime rt({.workers = 2});
  EXPECT_EQ(rt.run([] { return 1; }), 1);
  EXPECT_EQ(rt.run([] { return 2; }), 2);
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { sum += rt.run([i] { return this_fiber::yield(), i; }); });
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 6);
}

TEST(runtime, go_and_spawn_work_from_any_thread) {
  runtime rt({.workers = 2});
  std::atomic<int> ran{0};
  rt.go([&] { ++ran; });
  fiber f = rt.spawn([&] { ++ran; });
  f.join();
  EXPECT_TRUE(eventually([&] { return ran == 2; }));
}

TEST(runtime, several_in_one_process_keep_to_themselves) {
  runtime a({.workers = 1}), b({.workers = 2});
  channel<int> there(0), back(0);
  fiber echo = a.spawn([&] {
    for (int v : there) back.send(v + 1);
  });
  const int last = b.run([&] {
    int v = 0;
    for (int i = 0; i < 200; ++i) {
      there.send(v);
      v = *back.receive();
    }
    there.close();
    return v;
  });
  EXPECT_EQ(last, 200);
  echo.join();
  EXPECT_EQ(a.workers(), 1u);
  EXPECT_EQ(b.workers(), 2u);
  EXPECT_TRUE(eventually([&] { return a.stats().fibers == 0; }));
}

TEST(runtime, primitives_are_shared_between_runtimes_and_threads) {
  runtime a({.workers = 2}), b({.workers = 2});
  mutex m;
  wait_group wg(6);
  int counter = 0;
  const auto work = [&] {
    for (int i = 0; i < 300; ++i) {
      std::lock_guard hold(m);
      ++counter;
    }
    wg.done();
  };
  std::thread t1(work), t2(work);
  a.go(work), a.go(work), b.go(work), b.go(work);
  wg.wait();
  t1.join();
  t2.join();
  EXPECT_EQ(counter, 1800);
}

TEST(runtime, a_fiber_may_run_another_runtime) {
  EXPECT_EQ(thrum::run([] { return thrum::run({.workers = 1}, [] { return 11; }); }), 11);
}

TEST(runtime, available_processors_respect_the_affinity_mask) {
  EXPECT_GE(available_processors(), 1u);
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &before)) ++cpu;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(available_processors(), 1u);
  EXPECT_EQ(runtime().workers(), 1u);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_LE(available_processors(), static_cast<unsigned>(CPU_COUNT(&before)));
}

TEST(runtime, statistics_count_fibers_threads_and_timers) {
  runtime rt({.workers = 2});
  EXPECT_GE(rt.stats().threads, 3u);  // Two workers and the monitor.
  rt.run([&] {
    EXPECT_EQ(rt.stats().fibers, 1u);
    {
      std::vector<fiber> sleepers;
      for (int i = 0; i < 10; ++i) sleepers.push_back(spawn([] { this_fiber::sleep_for(24h); }));
      EXPECT_TRUE(eventually([&] { return rt.stats().fibers == 11u; }));
      EXPECT_TRUE(eventually([&] { return rt.stats().timers >= 10u; }));
    }
    EXPECT_TRUE(eventually([&] { return rt.stats().fibers == 1u; }));
    // The timer of the sleep that `eventually` made has fired.
    EXPECT_EQ(rt.stats().timers, 0u);
  });
}

TEST(runtime, a_fiber_that_has_not_started_holds_no_stack) {
  with_runtime({.workers = 1}, [](runtime& rt) {
    // With one worker, none of them starts before we wait.
    std::vector<fiber> fresh;
    for (int i = 0; i < 500; ++i) fresh.push_back(spawn([] {}));
    EXPECT_EQ(rt.stats().warm_stacks, 0u);
    for (auto& f : fresh) f.join();
    // One after the other they have used a handful of stacks.
    EXPECT_LE(rt.stats().warm_stacks, 64u);
  });
}

TEST(runtime, nothing_is_left_of_many_runtimes) {
  const auto before = open_descriptors();
  for (int i = 0; i < (under_tsan ? 20 : 200); ++i) thrum::run({.workers = 2}, [] { go([] {}); });
  EXPECT_EQ(open_descriptors(), before);
}

TEST(runtime, many_workers_are_allowed) {
  runtime rt({.workers = 16});
  EXPECT_EQ(rt.workers(), 16u);
  std::atomic<int> n{0};
  rt.run([&] {
    scope s;
    for (int i = 0; i < 1000; ++i) s.go([&] { ++n; });
    s.join();
  });
  EXPECT_EQ(n, 1000);
}

}  // namespace
}  // namespace thrum
