// Address space that costs nothing until it is touched, goes back, and can be guarded.
#include "os/memory.hpp"

#include <vector>

#include <sys/mman.h>

#include <gtest/gtest.h>

namespace thrum::os {
namespace {

std::size_t resident(void* base, std::size_t bytes) {
  std::vector<unsigned char> present(bytes / page_size);
  if (::mincore(base, bytes, present.data()) != 0) return SIZE_MAX;
  std::size_t n = 0;
  for (auto p : present) n += p & 1;
  return n;
}

TEST(memory, reserving_costs_address_space_only) {
  constexpr std::size_t much = std::size_t{64} << 30;
  auto* p = static_cast<char*>(reserve(much));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(resident(p, 1024 * page_size), 0u);
  p[0] = p[much - 1] = 1;
  EXPECT_EQ(resident(p, 1024 * page_size), 1u);
  release(p, much);
}

TEST(memory, more_than_there_is_is_null) { EXPECT_EQ(reserve(std::size_t{1} << 62), nullptr); }

TEST(memory, what_is_discarded_reads_as_zero) {
  auto* p = static_cast<char*>(reserve(4 * page_size));
  for (std::size_t i = 0; i < 4; ++i) p[i * page_size] = 7;
  discard(p + page_size, 2 * page_size);
  EXPECT_EQ(resident(p, 4 * page_size), 2u);
  EXPECT_EQ(p[0], 7);
  EXPECT_EQ(p[page_size], 0);
  EXPECT_EQ(p[3 * page_size], 7);
  release(p, 4 * page_size);
}

TEST(memory, the_limit_of_mappings_is_known) { EXPECT_GT(max_map_count(), 1000u); }

}  // namespace
}  // namespace thrum::os
