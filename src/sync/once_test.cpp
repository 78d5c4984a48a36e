// What once.hpp promises.
#include <thrum/once.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class once_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, once_test, worker_counts, count_name);

TEST_P(once_test, one_does_it_and_the_others_wait_until_it_is_done) {
  run([] {
    for (int round = 0; round < 50; ++round) {
      once_flag flag;
      int calls = 0, result = 0;
      scope all;
      for (int i = 0; i < 8; ++i)
        all.go([&] {
          call_once(
              flag,
              [&](int r) {
                ++calls;
                this_fiber::sleep_for(100us);
                result = r;
              },
              7);
          EXPECT_EQ(result, 7);
        });
      all.join();
      EXPECT_EQ(calls, 1);
    }
  });
}

TEST_P(once_test, after_an_exception_the_next_tries) {
  run([] {
    once_flag flag;
    std::atomic<int> calls{0}, failures{0}, done{0};
    scope all;
    for (int i = 0; i < 6; ++i)
      all.go([&] {
        try {
          call_once(flag, [&] {
            this_fiber::yield();
            if (++calls < 4) throw std::runtime_error("not yet");
          });
          ++done;
        } catch (const std::runtime_error&) {
          ++failures;
        }
      });
    all.join();
    EXPECT_EQ(calls, 4);
    EXPECT_EQ(failures, 3);
    EXPECT_EQ(done, 3);
  });
}

TEST_P(once_test, a_cancelled_runner_leaves_it_to_the_next) {
  run([] {
    once_flag flag;
    fiber runner = spawn([&] { call_once(flag, [] { this_fiber::sleep_for(24h); }); });
    settle();
    bool done = false;
    fiber next = spawn([&] { call_once(flag, [&] { done = true; }); });
    settle();
    runner.request_stop();
    runner.join();
    next.join();
    EXPECT_TRUE(done);
  });
}

TEST_P(once_test, works_between_fibers_and_threads) {
  run([] {
    for (int round = 0; round < 20; ++round) {
      once_flag flag;
      std::atomic<int> calls{0};
      const auto call = [&] {
        call_once(flag, [&] { ++calls; });
        EXPECT_EQ(calls, 1);
      };
      std::thread a(call), b(call);
      fiber f = spawn(call);
      call();
      f.join();
      a.join();
      b.join();
    }
  });
}

}  // namespace
}  // namespace thrum
