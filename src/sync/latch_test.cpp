// What latch.hpp promises.
#include <thrum/latch.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class latch_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, latch_test, worker_counts, count_name);

TEST_P(latch_test, opens_when_it_has_been_counted_down) {
  run([] {
    latch l(3);
    int plain = 0;
    std::atomic<int> through{0};
    scope all;
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        l.wait();
        EXPECT_EQ(plain, 1);
        ++through;
      });
    settle();
    EXPECT_FALSE(l.try_wait());
    l.count_down(2);
    EXPECT_FALSE(l.wait_for(1ms));
    EXPECT_EQ(through, 0);
    plain = 1;
    l.count_down();
    all.join();
    EXPECT_TRUE(l.try_wait());
    l.wait();
    latch(0).wait();
  });
}

TEST_P(latch_test, arrive_and_wait_lets_all_go_together) {
  run([] {
    latch l(8);
    std::atomic<int> arrived{0};
    scope all;
    for (int i = 0; i < 8; ++i)
      all.go([&] {
        ++arrived;
        l.arrive_and_wait();
        EXPECT_EQ(arrived, 8);
      });
    all.join();
  });
}

TEST_P(latch_test, below_zero_is_refused_and_changes_nothing) {
  run([] {
    EXPECT_THROW(latch(-1), latch_underflow);
    latch l(2);
    EXPECT_THROW(l.count_down(3), latch_underflow);
    EXPECT_THROW(l.count_down(-1), latch_underflow);
    l.count_down(2);
    EXPECT_TRUE(l.try_wait());
    EXPECT_THROW(l.count_down(), latch_underflow);
  });
}

TEST_P(latch_test, works_between_fibers_and_threads) {
  run([] {
    latch l(4);
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { l.arrive_and_wait(); });
    fiber f = spawn([&] { l.arrive_and_wait(); });
    l.arrive_and_wait();
    f.join();
    for (auto& t : threads) t.join();
  });
}

}  // namespace
}  // namespace thrum
