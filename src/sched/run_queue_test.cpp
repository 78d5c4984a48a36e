// The run queue: order and capacity for its owner, and every fiber exactly once however many steal.
#include "sched/run_queue.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.hpp"
#include "context/sanitizer.hpp"
#include "sched/activity.hpp"

namespace thrum::sched {
namespace {

// The queue never looks into a fiber: any distinct addresses will do.
activity* item(std::uintptr_t number) noexcept { return reinterpret_cast<activity*>((number + 1) * 64); }
std::uintptr_t number(activity* f) noexcept { return reinterpret_cast<std::uintptr_t>(f) / 64 - 1; }

class run_queue_order : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(shared, run_queue_order, ::testing::Bool());

TEST_P(run_queue_order, is_first_in_first_out) {
  run_queue q(GetParam());
  EXPECT_TRUE(q.empty());
  EXPECT_EQ(q.pop(), nullptr);
  for (std::uintptr_t i = 0; i < 10; ++i) ASSERT_TRUE(q.push(item(i)));
  EXPECT_EQ(q.size(), 10u);
  for (std::uintptr_t i = 0; i < 10; ++i) EXPECT_EQ(number(q.pop()), i);
  EXPECT_EQ(q.pop(), nullptr);
}

TEST_P(run_queue_order, refuses_what_exceeds_its_capacity) {
  run_queue q(GetParam());
  for (std::uintptr_t i = 0; i < run_queue::capacity; ++i) ASSERT_TRUE(q.push(item(i)));
  EXPECT_FALSE(q.push(item(999)));
  EXPECT_EQ(q.size(), run_queue::capacity);
  EXPECT_EQ(number(q.pop()), 0u);
  EXPECT_TRUE(q.push(item(run_queue::capacity)));
  for (std::uintptr_t i = 1; i <= run_queue::capacity; ++i) EXPECT_EQ(number(q.pop()), i);
}

TEST_P(run_queue_order, keeps_its_order_when_the_ring_wraps_many_times) {
  run_queue q(GetParam());
  std::uintptr_t pushed = 0, popped = 0;
  base::rng random(7);
  while (popped < 100'000) {
    for (auto n = random.below(run_queue::capacity); n > 0 && q.push(item(pushed)); --n) ++pushed;
    for (auto n = random.below(run_queue::capacity); n > 0; --n) {
      auto* f = q.pop();
      if (!f) break;
      ASSERT_EQ(number(f), popped++);
    }
  }
}

TEST_P(run_queue_order, tells_its_room_and_who_is_next) {
  run_queue q(GetParam());
  EXPECT_EQ(q.room(), run_queue::capacity);
  EXPECT_EQ(q.peek(0), nullptr);
  for (std::uintptr_t i = 0; i < 5; ++i) ASSERT_TRUE(q.push(item(i)));
  EXPECT_EQ(q.room(), run_queue::capacity - 5);
  EXPECT_EQ(number(q.pop()), 0u);
  EXPECT_EQ(number(q.peek(0)), 1u);
  EXPECT_EQ(number(q.peek(3)), 4u);
  EXPECT_EQ(q.peek(4), nullptr);
}

TEST_P(run_queue_order, gives_its_owner_the_newest_or_the_oldest) {
  run_queue q(GetParam());
  EXPECT_EQ(q.pop_newest(), nullptr);
  std::uintptr_t next = 0;
  for (int round = 0; round < 3000; ++round) {  // The ring wraps.
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(q.push(item(next++)));
    EXPECT_EQ(number(q.pop_newest()), next - 1);
    EXPECT_EQ(number(q.pop()), next - 5);
    EXPECT_EQ(number(q.pop_newest()), next - 2);
    EXPECT_EQ(number(q.pop_newest()), next - 3);
    EXPECT_EQ(q.size(), 1u);
    EXPECT_EQ(number(q.pop_newest()), next - 4);
    EXPECT_EQ(q.pop_newest(), nullptr);
    EXPECT_EQ(q.pop(), nullptr);
  }
}

TEST(run_queue_steal, takes_the_older_half_and_returns_one_to_run) {
  run_queue victim(true), thief(true);
  for (std::uintptr_t i = 0; i < 9; ++i) ASSERT_TRUE(victim.push(item(i)));
  auto* f = victim.steal_into(thief);
  EXPECT_EQ(victim.size(), 4u);
  EXPECT_EQ(thief.size(), 4u);
  EXPECT_EQ(number(f), 4u);
  for (std::uintptr_t i = 0; i < 4; ++i) EXPECT_EQ(number(thief.pop()), i);
  for (std::uintptr_t i = 5; i < 9; ++i) EXPECT_EQ(number(victim.pop()), i);
}

TEST(run_queue_steal, takes_a_single_fiber_and_finds_nothing_in_an_empty_queue) {
  run_queue victim(true), thief(true);
  EXPECT_EQ(victim.steal_into(thief), nullptr);
  ASSERT_TRUE(victim.push(item(3)));
  EXPECT_EQ(number(victim.steal_into(thief)), 3u);
  EXPECT_TRUE(victim.empty());
  EXPECT_TRUE(thief.empty());
}

TEST(run_queue_steal, takes_a_limited_number_from_a_full_queue) {
  run_queue victim(true), thief(true);
  for (std::uintptr_t i = 0; i < run_queue::capacity; ++i) ASSERT_TRUE(victim.push(item(i)));
  ASSERT_NE(victim.steal_into(thief), nullptr);
  EXPECT_EQ(victim.size(), run_queue::capacity - run_queue::steal_max);
  EXPECT_EQ(thief.size(), run_queue::steal_max - 1);
}

// One owner that pushes and pops, several thieves that steal and drain what they have stolen.
class theft {
 public:
  theft(unsigned thieves, std::uintptr_t items, bool newest) : newest_(newest), seen_(items), items_(items) {
    for (unsigned i = 0; i < thieves; ++i) threads_.emplace_back([this] { steal(); });
  }

  void own() {
    base::rng random(11);
    for (std::uintptr_t next = 0; next < items_;) {
      for (auto n = random.below(40); n > 0 && next < items_ && victim_.push(item(next)); --n) ++next;
      for (auto n = random.below(20); n > 0; --n) take(pop_one(random));
    }
    while (auto* f = pop_one(random)) take(f);
    over_.store(true);
    for (auto& t : threads_) t.join();
  }

  void check() const {
    for (std::uintptr_t i = 0; i < items_; ++i) ASSERT_EQ(seen_[i].load(), 1) << "item " << i;
  }

 private:
  void steal() {
    run_queue mine(true);
    for (bool last = false; !last;) {
      last = over_.load();
      take(victim_.steal_into(mine));
      while (auto* f = mine.pop()) take(f);
    }
  }
  activity* pop_one(base::rng& random) {
    return newest_ && random.below(4) != 0 ? victim_.pop_newest() : victim_.pop();
  }
  void take(activity* f) {
    if (f) seen_[number(f)].fetch_add(1, std::memory_order_relaxed);
  }

  const bool newest_;
  run_queue victim_{true};
  std::atomic<bool> over_{false};
  std::vector<std::atomic<int>> seen_;
  const std::uintptr_t items_;
  std::vector<std::thread> threads_;
};

TEST(run_queue_steal, every_fiber_is_taken_exactly_once) {
  for (const bool newest : {false, true}) {
    for (unsigned thieves : {1u, 2u, 4u}) {
      theft t(thieves, 200'000, newest);
      t.own();
      t.check();
    }
  }
}

}  // namespace
}  // namespace thrum::sched
