// What wait_group.hpp promises.
#include <thrum/wait_group.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class wait_group_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, wait_group_test, worker_counts, count_name);

TEST_P(wait_group_test, wait_returns_when_everything_is_done) {
  run([] {
    wait_group wg;
    std::atomic<int> done{0};
    for (int i = 0; i < 100; ++i) {
      wg.add();
      go([&] {
        this_fiber::yield();
        ++done;
        wg.done();
      });
    }
    wg.wait();
    EXPECT_EQ(done, 100);
  });
}

TEST_P(wait_group_test, what_was_done_before_done_is_visible_after_wait) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      int plain = 0;
      wait_group wg(1);
      go([&] {
        plain = 1;
        wg.done();
      });
      wg.wait();
      EXPECT_EQ(plain, 1);
    }
  });
}

TEST_P(wait_group_test, several_may_wait_and_zero_does_not_wait) {
  run([] {
    wait_group wg(1), waiters(8);
    wait_group().wait();
    for (int i = 0; i < 8; ++i)
      go([&] {
        wg.wait();
        waiters.done();
      });
    settle();
    EXPECT_FALSE(waiters.wait_for(1ms));
    wg.done();
    waiters.wait();
  });
}

TEST_P(wait_group_test, below_zero_is_refused_and_changes_nothing) {
  run([] {
    EXPECT_THROW(wait_group(-1), negative_wait_group);
    wait_group wg(2);
    EXPECT_THROW(wg.add(-3), negative_wait_group);
    wg.done();
    wg.done();
    EXPECT_THROW(wg.done(), negative_wait_group);
    wg.wait();
    wg.add(5);
    wg.add(-5);
    wg.wait();
  });
}

TEST_P(wait_group_test, may_be_used_again) {
  run([] {
    wait_group wg;
    for (int round = 0; round < 100; ++round) {
      wg.add(3);
      for (int i = 0; i < 3; ++i) go([&] { wg.done(); });
      wg.wait();
    }
  });
}

TEST_P(wait_group_test, may_be_destroyed_as_soon_as_wait_returns) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      auto wg = std::make_unique<wait_group>(2);
      for (int k = 0; k < 2; ++k) go([&g = *wg] { g.done(); });
      wg->wait();
      wg.reset();
    }
  });
}

TEST_P(wait_group_test, timed_waits_tell_whether_it_was_done) {
  run([] {
    wait_group wg(1);
    const auto until = clock::now() + 3ms;
    EXPECT_FALSE(wg.wait_until(until));
    EXPECT_GE(clock::now(), until);
    EXPECT_FALSE(wg.wait_for(-1s));
    fiber f = spawn([&] { EXPECT_TRUE(wg.wait_for(hang_guard)); });
    settle();
    wg.done();
    f.join();
    EXPECT_TRUE(wg.wait_for(0s));
  });
}

TEST_P(wait_group_test, works_between_fibers_and_threads) {
  run([] {
    wait_group from_threads(4), from_fibers(4);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        from_fibers.wait();
        from_threads.done();
      });
    for (int i = 0; i < 4; ++i) go([&] { from_fibers.done(); });
    from_threads.wait();
    for (auto& t : threads) t.join();
  });
}

}  // namespace
}  // namespace thrum
