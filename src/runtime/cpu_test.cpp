// What cpu.hpp and task_cpu.hpp promise.
#include <thrum/cpu.hpp>
#include <thrum/task_cpu.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>

#include "sched/worker.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class cpu_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, cpu_test, worker_counts, count_name);

TEST_P(cpu_test, gives_what_the_computation_gives) {
  run([] {
    EXPECT_EQ(cpu([] { return 7; }), 7);
    EXPECT_EQ(*cpu([] { return std::make_unique<int>(8); }), 8);
    int n = 0;
    cpu([&] { n = 9; });
    EXPECT_EQ(n, 9);
    int& same = cpu([&]() -> int& { return n; });
    EXPECT_EQ(&same, &n);
    EXPECT_THROW(cpu([] { throw std::out_of_range("far"); }), std::out_of_range);
  });
}

TEST_P(cpu_test, the_monitor_is_told_for_as_long_as_it_lasts) {
  run([] {
    const auto told = [] { return sched::current_activity()->hogged.load(); };
    const bool before = told();  // On a busy machine this fiber may have lost a processor.
    cpu([&] {
      EXPECT_TRUE(told());
      cpu([&] { EXPECT_TRUE(told()); });
      EXPECT_TRUE(told());
    });
    EXPECT_TRUE(told() == before || before);
    const auto use = [&]() -> task<> {
      cpu([&] { EXPECT_TRUE(told()); });
      co_return;
    };
    spawn(use()).join();
  });
}

// There is no other way to the others: the loops end only if these get their turn.
TEST_P(cpu_test, a_computation_that_offers_it_gives_way) {
  run([] {
    std::atomic<int> others{0};
    fiber waker = spawn([&] {
      this_fiber::sleep_for(1ms);
      ++others;
    });
    const auto offers = [&]() -> task<> {
      while (others < 2) co_await async_maybe_yield();
    };
    auto computing = spawn(offers());
    cpu([&] {
      while (others == 0) this_fiber::maybe_yield();
      fiber next = spawn([&] { ++others; });
      while (others < 2) this_fiber::maybe_yield();
      next.join();
    });
    computing.join();
    waker.join();
  });
}

TEST_P(cpu_test, offers_are_cancellation_points) {
  run([] {
    std::atomic<int> begun{0}, told{0};
    fiber f = spawn([&] {
      ++begun;
      try {
        for (;;) this_fiber::maybe_yield();
      } catch (const cancelled&) {
        ++told;
      }
    });
    const auto offers = [&]() -> task<> {
      ++begun;
      try {
        for (;;) co_await async_maybe_yield();
      } catch (const cancelled&) {
        ++told;
      }
    };
    auto t = spawn(offers());
    EXPECT_TRUE(eventually([&] { return begun == 2; }));
    f.request_stop();
    t.request_stop();
    f.join();
    t.join();
    EXPECT_EQ(told, 2);
    scope s;
    s.cancel();
    EXPECT_THROW(this_fiber::maybe_yield(), cancelled);
  });
}

TEST(cpu, on_a_plain_thread_it_is_only_a_call) {
  EXPECT_EQ(cpu([] {
              for (int i = 0; i < 1000; ++i) this_fiber::maybe_yield();
              return 7;
            }),
            7);
}

}  // namespace
}  // namespace thrum
