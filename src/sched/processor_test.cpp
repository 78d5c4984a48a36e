// The order in which a processor runs its fibers: the newest first for a while, then everybody's turn.
#include "sched/processor.hpp"

#include <memory>

#include <gtest/gtest.h>

namespace thrum::sched {
namespace {

class null_poller final : public poller {
 public:
  int watch(int, fd_watch&) noexcept override { return 0; }
  void forget(fd_watch&) noexcept override {}
  void wait(std::int64_t, std::int64_t, runnable_batch&) noexcept override {}
  void wake() noexcept override {}
  std::size_t watched() const noexcept override { return 0; }
};

class null_seams final : public seams {
 public:
  clock_source& clock() override { std::abort(); }
  std::unique_ptr<random_source> make_random(unsigned) override { return nullptr; }
  std::unique_ptr<poller> make_poller() override { return std::make_unique<null_poller>(); }
};

// A processor keeps a reference to its scheduler, which picking never touches.
alignas(64) std::byte no_scheduler[64];

class pick_order : public ::testing::TestWithParam<bool> {
 protected:
  fiber_control* fiber(int i) { return &fibers_[static_cast<std::size_t>(i)]; }

  null_seams seams_;
  processor p{reinterpret_cast<scheduler&>(no_scheduler), 0, GetParam(), seams_};

 private:
  std::unique_ptr<fiber_control[]> fibers_ = std::make_unique<fiber_control[]>(8);
};
INSTANTIATE_TEST_SUITE_P(shared, pick_order, ::testing::Bool());

TEST_P(pick_order, finds_nothing_on_an_idle_processor) { EXPECT_EQ(p.pick_in_order(), nullptr); }

TEST_P(pick_order, takes_the_fiber_woken_last_before_the_queue) {
  p.queue.push(fiber(0));
  p.queue.push(fiber(1));
  EXPECT_EQ(p.swap_lifo(fiber(2)), nullptr);
  EXPECT_EQ(p.pick_in_order(), fiber(2));
  EXPECT_EQ(p.pick_in_order(), fiber(0));
  EXPECT_EQ(p.pick_in_order(), fiber(1));
  EXPECT_EQ(p.pick_in_order(), nullptr);
}

TEST_P(pick_order, a_displaced_fiber_is_handed_back) {
  EXPECT_EQ(p.swap_lifo(fiber(0)), nullptr);
  EXPECT_EQ(p.swap_lifo(fiber(1)), fiber(0));
  EXPECT_TRUE(p.has_runnable());
  EXPECT_EQ(p.take_lifo(), fiber(1));
  EXPECT_EQ(p.take_lifo(), nullptr);
  EXPECT_FALSE(p.has_runnable());
}

// Two fibers that wake each other all the time must let the others in.
TEST_P(pick_order, the_newest_gives_way_to_the_queue_after_a_number_of_turns) {
  p.queue.push(fiber(7));
  unsigned turns = 0;
  for (; turns < 1000; ++turns) {
    p.swap_lifo(fiber(static_cast<int>(turns % 2)));
    if (p.pick_in_order() == fiber(7)) break;
  }
  EXPECT_EQ(turns, processor::lifo_turns_max);
  EXPECT_EQ(p.pick_in_order(), fiber(static_cast<int>(turns % 2)));
}

TEST_P(pick_order, the_newest_runs_on_when_nobody_else_wants_to) {
  for (unsigned i = 0; i < 10 * processor::lifo_turns_max; ++i) {
    p.swap_lifo(fiber(3));
    EXPECT_EQ(p.pick_in_order(), fiber(3));
  }
}

TEST_P(pick_order, of_those_that_have_not_started_the_newest_is_first) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(p.push_fresh(fiber(i)));
  EXPECT_EQ(p.queued(), 3u);
  for (int i = 2; i >= 0; --i) EXPECT_EQ(p.pick_in_order(), fiber(i));
  EXPECT_EQ(p.pick_in_order(), nullptr);
}

TEST_P(pick_order, those_that_have_started_go_first_but_not_always) {
  EXPECT_TRUE(p.push_fresh(fiber(0)));
  unsigned turns = 0;
  for (;; ++turns) {
    p.queue.push(fiber(1));
    if (p.pick_in_order() == fiber(0)) break;
  }
  EXPECT_EQ(turns, processor::turns_before_a_start);
  EXPECT_EQ(p.pick_in_order(), fiber(1));
}

TEST_P(pick_order, the_oldest_that_has_not_started_gets_its_turn) {
  EXPECT_TRUE(p.push_fresh(fiber(0)));
  unsigned starts = 0;
  do {
    EXPECT_TRUE(p.push_fresh(fiber(1)));
  } while (p.pick_in_order() != fiber(0) && ++starts < 10'000);
  EXPECT_LT(starts, processor::starts_before_the_oldest);
}

TEST(processor_looks, are_due_after_so_many_dispatches_or_on_request) {
  null_seams s;
  processor p(reinterpret_cast<scheduler&>(no_scheduler), 0, false, s);
  p.looked();
  for (unsigned i = 1; i < processor::dispatches_per_look; ++i) EXPECT_FALSE(p.count_dispatch()) << i;
  EXPECT_TRUE(p.count_dispatch());
  p.looked();
  EXPECT_FALSE(p.look_is_due());
  p.request_look();
  EXPECT_TRUE(p.look_is_due());
}

}  // namespace
}  // namespace thrum::sched
