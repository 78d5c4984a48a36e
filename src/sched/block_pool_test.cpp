// The pool of control blocks: distinct, recycled, limited, and walkable while it grows.
#include "sched/block_pool.hpp"

#include "sched/fiber_control.hpp"

#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace thrum::sched {
namespace {

constexpr std::size_t stack_size = 64 * 1024;

class block_pools : public ::testing::Test {
 protected:
  std::vector<fiber_control*> take(block_pool<fiber_control>& pool, std::size_t count) {
    std::vector<fiber_control*> all;
    while (all.size() < count) {
      std::size_t got = 0;
      auto* f = pool.acquire(count - all.size(), got);
      if (!f) break;
      for (std::size_t i = 0; i < got; ++i, f = static_cast<fiber_control*>(f->next)) all.push_back(f);
    }
    return all;
  }
  context::stack_class stacks{stack_size, context::guard_mode::none};
};

TEST_F(block_pools, gives_out_distinct_aligned_blocks) {
  block_pool<fiber_control> pool(&stacks, 10'000);
  const auto all = take(pool, 1000);
  ASSERT_EQ(all.size(), 1000u);
  EXPECT_EQ(std::set<fiber_control*>(all.begin(), all.end()).size(), 1000u);
  for (auto* f : all) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(f) % 64, 0u);
}

TEST_F(block_pools, recycles_what_comes_back) {
  block_pool<fiber_control> pool(&stacks, 10'000);
  const auto first = take(pool, 1);
  const auto total = pool.total();
  pool.give_back(first[0], first[0], 1);
  EXPECT_EQ(pool.free_count(), total);
  EXPECT_EQ(take(pool, 1), first);
  EXPECT_EQ(pool.total(), total);
}

TEST_F(block_pools, stops_at_its_limit) {
  block_pool<fiber_control> pool(&stacks, 300);
  const auto all = take(pool, 10'000);
  EXPECT_EQ(all.size(), 320u);  // The limit, rounded up to what is built at once.
  std::size_t got = 1;
  EXPECT_EQ(pool.acquire(1, got), nullptr);
}

TEST_F(block_pools, reserves_a_stack_for_each_block) {
  block_pool<fiber_control> pool(&stacks, 10'000);
  take(pool, 500);
  EXPECT_GE(stacks.capacity(), pool.total());
}

TEST_F(block_pools, is_walked_completely) {
  block_pool<fiber_control> pool(&stacks, 10'000);
  const auto all = take(pool, 700);
  std::set<fiber_control*> seen;
  pool.for_each([&](fiber_control& f) { seen.insert(&f); });
  EXPECT_EQ(seen.size(), pool.total());
  for (auto* f : all) EXPECT_TRUE(seen.contains(f));
}

TEST_F(block_pools, serves_many_threads_without_handing_a_block_out_twice) {
  block_pool<fiber_control> pool(&stacks, 100'000);
  std::vector<std::thread> threads;
  std::atomic<int> clashes{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        auto mine = take(pool, 1 + static_cast<std::size_t>(i) % 90);
        for (auto* f : mine)
          if (f->id.fetch_add(1) != 0) clashes.fetch_add(1);
        pool.for_each([](fiber_control& f) { f.phase.load(std::memory_order_relaxed); });
        for (auto* f : mine) f->id.fetch_sub(1);
        for (std::size_t k = 0; k + 1 < mine.size(); ++k) mine[k]->next = mine[k + 1];
        pool.give_back(mine.front(), mine.back(), mine.size());
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(clashes.load(), 0);
  EXPECT_EQ(pool.free_count(), pool.total());
}

}  // namespace
}  // namespace thrum::sched
