// What barrier.hpp promises.
#include <thrum/barrier.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class barrier_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, barrier_test, worker_counts, count_name);

TEST_P(barrier_test, nobody_enters_a_phase_before_all_have_left_the_one_before) {
  run([] {
    constexpr int participants = 8, phases = 50;
    std::atomic<int> arrived{0};
    int completed = 0;
    barrier b(participants, [&]() noexcept {
      EXPECT_EQ(arrived, (completed + 1) * participants);
      ++completed;
    });
    scope all;
    for (int i = 0; i < participants; ++i)
      all.go([&] {
        for (int phase = 0; phase < phases; ++phase) {
          ++arrived;
          b.arrive_and_wait();
          EXPECT_GE(arrived, (phase + 1) * participants);
          EXPECT_GE(completed, phase + 1);
        }
      });
    all.join();
    EXPECT_EQ(completed, phases);
  });
}

TEST_P(barrier_test, arriving_and_waiting_can_be_apart) {
  run([] {
    barrier<> b(2);
    auto mine = b.arrive();
    EXPECT_FALSE(b.wait_for(mine, 1ms));
    EXPECT_FALSE(b.wait_until(mine, clock::now()));
    fiber other = spawn([&] { b.arrive_and_wait(); });
    b.wait(mine);
    other.join();
    b.wait(mine);  // Of a phase that is over.
    b.wait(b.arrive(2));
  });
}

TEST_P(barrier_test, who_drops_out_is_not_expected_any_more) {
  run([] {
    barrier<> b(3);
    fiber other = spawn([&] {
      b.arrive_and_wait();
      b.arrive_and_wait();
    });
    b.arrive_and_drop();
    b.arrive_and_wait();
    b.arrive_and_wait();
    other.join();
  });
}

TEST_P(barrier_test, more_than_expected_are_refused) {
  run([] {
    EXPECT_THROW(barrier<>(-1), barrier_overrun);
    barrier<> b(2);
    EXPECT_THROW((void)b.arrive(3), barrier_overrun);
    EXPECT_THROW((void)b.arrive(-1), barrier_overrun);
    (void)b.arrive();
    b.arrive_and_wait();
    EXPECT_THROW((void)barrier<>(0).arrive(), barrier_overrun);
  });
}

TEST_P(barrier_test, an_arrival_stands_though_its_wait_was_cancelled) {
  run([] {
    barrier<> b(2);
    fiber f = spawn([&] { b.arrive_and_wait(); });
    settle();
    f.request_stop();
    f.join();
    b.arrive_and_wait();  // The second to arrive.
  });
}

TEST_P(barrier_test, works_between_fibers_and_threads) {
  run([] {
    barrier<> b(4);
    std::atomic<int> arrived{0};
    const auto take_part = [&] {
      for (int i = 1; i <= 50; ++i) {
        ++arrived;
        b.arrive_and_wait();
        EXPECT_GE(arrived, 4 * i);
      }
    };
    std::thread a(take_part), c(take_part);
    fiber f = spawn(take_part);
    take_part();
    f.join();
    a.join();
    c.join();
  });
}

}  // namespace
}  // namespace thrum
