// The random source: repeatable, uniform enough, inside its bounds.
#include "base/rng.hpp"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace thrum::base {
namespace {

TEST(rng, the_same_seed_gives_the_same_sequence) {
  rng a(42), b(42), c(43);
  int different = 0;
  for (int i = 0; i < 100; ++i) {
    const auto x = a.next();
    EXPECT_EQ(x, b.next());
    different += x != c.next();
  }
  EXPECT_EQ(different, 100);
}

TEST(rng, seed_zero_is_as_good_as_any) {
  rng r(0);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(r.next());
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(rng, below_stays_below_and_is_uniform) {
  for (std::uint32_t bound : {1u, 2u, 3u, 7u, 10u, 100u}) {
    rng r(bound);
    std::vector<int> hits(bound);
    const int rounds = 1000 * static_cast<int>(bound);
    for (int i = 0; i < rounds; ++i) {
      const auto x = r.below(bound);
      ASSERT_LT(x, bound);
      ++hits[x];
    }
    for (int n : hits) EXPECT_NEAR(n, 1000, 200);
  }
  rng r;
  for (int i = 0; i < 1000; ++i) EXPECT_LT(r.below(0xffffffffu), 0xffffffffu);
}

}  // namespace
}  // namespace thrum::base
