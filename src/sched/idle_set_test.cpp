// The idle set: who sleeps is told once, and the searchers are counted.
#include "sched/idle_set.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace thrum::sched {
namespace {

TEST(idle_set, tells_who_sleeps) {
  idle_set s;
  EXPECT_EQ(s.count(), 0u);
  EXPECT_EQ(s.take_one(), -1);
  s.announce(70);
  EXPECT_TRUE(s.contains(70));
  EXPECT_FALSE(s.contains(6));
  EXPECT_EQ(s.count(), 1u);
  EXPECT_TRUE(s.remove(70));
  EXPECT_FALSE(s.remove(70));
  EXPECT_EQ(s.count(), 0u);
}

TEST(idle_set, gives_each_sleeper_out_once) {
  idle_set s;
  for (unsigned i : {3u, 63u, 64u, 200u, 255u}) s.announce(i);
  std::vector<bool> taken(idle_set::processors_max);
  for (int i = 0; i < 5; ++i) {
    const int one = s.take_one();
    ASSERT_GE(one, 0);
    EXPECT_FALSE(taken[static_cast<unsigned>(one)]);
    taken[static_cast<unsigned>(one)] = true;
  }
  EXPECT_TRUE(taken[3] && taken[63] && taken[64] && taken[200] && taken[255]);
  EXPECT_EQ(s.take_one(), -1);
}

TEST(idle_set, wants_a_wake_up_only_when_somebody_sleeps_and_nobody_searches) {
  idle_set s;
  EXPECT_FALSE(s.wants_wake());
  s.announce(1);
  EXPECT_TRUE(s.wants_wake());
  EXPECT_TRUE(s.try_begin_first_search());
  EXPECT_FALSE(s.wants_wake());
  EXPECT_FALSE(s.try_begin_first_search());
  s.begin_search();
  EXPECT_FALSE(s.end_search());
  EXPECT_TRUE(s.end_search());
  EXPECT_TRUE(s.wants_wake());
}

// Sleepers and wakers: each announcement is undone once, by its owner or by one waker.
TEST(idle_set, sleeper_and_waker_agree_on_who_removed_it) {
  idle_set s;
  constexpr int rounds = 20'000;
  std::atomic<bool> over{false};
  std::atomic<int> taken{0}, removed{0};
  std::vector<std::thread> wakers;
  for (int w = 0; w < 2; ++w)
    wakers.emplace_back([&] {
      while (!over.load())
        if (s.take_one() >= 0) taken.fetch_add(1);
    });
  std::vector<std::thread> sleepers;
  for (unsigned p = 0; p < 2; ++p)
    sleepers.emplace_back([&, p] {
      for (int i = 0; i < rounds; ++i) {
        s.announce(p * 64);
        if (s.remove(p * 64)) removed.fetch_add(1);
      }
    });
  for (auto& t : sleepers) t.join();
  over.store(true);
  for (auto& t : wakers) t.join();
  EXPECT_EQ(taken.load() + removed.load(), 2 * rounds);
  EXPECT_EQ(s.count(), 0u);
}

}  // namespace
}  // namespace thrum::sched
