// Stacks: guards of every kind, memory that comes page by page and goes back, limits.
#include "context/stack_pool.hpp"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "context/sanitizer.hpp"

namespace thrum::context {
namespace {

constexpr std::size_t size = 64 * 1024;

std::vector<stack_ref> take(stack_class& pool, std::size_t n) {
  std::vector<stack_ref> all(n);
  for (std::size_t got = 0; got < n;) {
    const auto more = pool.acquire(std::span(all).subspan(got));
    if (more == 0) {
      all.resize(got);
      break;
    }
    got += more;
  }
  return all;
}

// Whether a child process that writes there dies of it.
bool is_guarded(char* address) {
  const pid_t child = ::fork();
  if (child == 0) {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(SIGSEGV, &standard, nullptr);
    ::sigaction(SIGBUS, &standard, nullptr);
    *static_cast<volatile char*>(address) = 1;
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

std::size_t resident_pages(char* base, std::size_t bytes) {
  std::vector<unsigned char> present(bytes / os::page_size);
  if (::mincore(base, bytes, present.data()) != 0) return 0;
  std::size_t n = 0;
  for (auto p : present) n += p & 1;
  return n;
}

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t n = 0;
  for (std::string line; std::getline(maps, line);) ++n;
  return n;
}

void touch(stack_ref s, std::size_t pages) {
  for (std::size_t i = 1; i <= pages; ++i) *static_cast<volatile char*>(s.base() + size - i * os::page_size) = 1;
}

class guards : public ::testing::TestWithParam<guard_mode> {};
INSTANTIATE_TEST_SUITE_P(modes, guards,
                         ::testing::Values(guard_mode::automatic, guard_mode::mapping_free, guard_mode::protect));

TEST_P(guards, the_lowest_page_and_only_that_one_is_guarded) {
  stack_class pool(size, GetParam());
  ASSERT_TRUE(pool.ensure_capacity(130));
  const auto all = take(pool, 130);
  ASSERT_EQ(all.size(), 130u);
  for (std::size_t i : {0u, 1u, 63u, 64u, 129u}) {
    EXPECT_TRUE(all[i].guarded());
    EXPECT_TRUE(is_guarded(all[i].base()));
    EXPECT_TRUE(is_guarded(all[i].base() + os::page_size - 1));
    EXPECT_FALSE(is_guarded(all[i].base() + os::page_size));
    EXPECT_FALSE(is_guarded(all[i].base() + size - 1));
  }
  EXPECT_EQ(pool.unguarded_count(), 0u);
  pool.give_back(all);
}

TEST_P(guards, survive_that_memory_is_given_back) {
  stack_class pool(size, GetParam());
  ASSERT_TRUE(pool.ensure_capacity(8));
  auto all = take(pool, 8);
  for (auto s : all) touch(s, 5);
  pool.give_back(all);
  pool.trim(2);
  all = take(pool, 8);
  for (auto s : all) {
    EXPECT_TRUE(is_guarded(s.base()));
    EXPECT_FALSE(is_guarded(s.base() + os::page_size));
  }
  pool.give_back(all);
}

// Asked of the kernel itself, since install_guards() is what is tested. Emulators take the advice and do nothing.
bool kernel_has_guards() {
  constexpr int madv_guard_install = 102;  // Linux 6.13; older headers lack the name.
  void* page = os::reserve(os::page_size);
  const bool has = ::madvise(page, os::page_size, madv_guard_install) == 0 && is_guarded(static_cast<char*>(page));
  os::release(page, os::page_size);
  return has;
}

TEST(guard_pages, without_a_mapping_each_where_the_kernel_can) {
  if (!kernel_has_guards()) GTEST_SKIP() << "this kernel has no MADV_GUARD_INSTALL: it came with Linux 6.13";
  stack_class probe(size, guard_mode::automatic);
  ASSERT_TRUE(probe.ensure_capacity(2000));
  const auto before = mappings();
  const auto all = take(probe, 2000);
  EXPECT_LT(mappings(), before + 20);
  probe.give_back(all);
}

TEST(guard_pages, by_mprotect_cost_a_mapping_each) {
  stack_class pool(size, guard_mode::protect);
  ASSERT_TRUE(pool.ensure_capacity(200));
  const auto before = mappings();
  const auto all = take(pool, 200);
  EXPECT_GT(mappings(), before + 150);
  pool.give_back(all);
}

TEST(guard_pages, beyond_what_mprotect_may_split_there_are_canaries) {
  const auto budget = os::max_map_count() / 2;
  if (budget > 200'000)
    GTEST_SKIP() << "vm.max_map_count is " << os::max_map_count() << ": too many mappings to use them up";
  // In a child: it uses up the process's whole budget of mappings.
  const pid_t child = ::fork();
  if (child == 0) {
    stack_class pool(16 * 1024, guard_mode::protect);
    if (!pool.ensure_capacity(budget + 500)) ::_exit(1);
    const auto all = take(pool, budget + 500);
    std::size_t unguarded = 0;
    for (auto s : all) unguarded += !s.guarded();
    ::_exit(all.size() == budget + 500 && unguarded >= 500 && pool.unguarded_count() == unguarded ? 0 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(guard_pages, without_one_the_canary_tells) {
  stack_class pool(size, guard_mode::none);
  ASSERT_TRUE(pool.ensure_capacity(4));
  const auto all = take(pool, 4);
  EXPECT_EQ(pool.unguarded_count(), 4u);
  for (auto s : all) {
    EXPECT_FALSE(s.guarded());
    EXPECT_TRUE(s.canary_intact());
    EXPECT_FALSE(is_guarded(s.base()));
  }
  *static_cast<volatile std::uint64_t*>(static_cast<void*>(all[1].base())) = 1;
  EXPECT_FALSE(all[1].canary_intact());
  EXPECT_TRUE(all[0].canary_intact());
  pool.give_back(all);
}

TEST(stack_pool, stacks_are_distinct_and_do_not_overlap) {
  stack_class pool(size, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(1000));
  EXPECT_GE(pool.capacity(), 1000u);
  const auto all = take(pool, 1000);
  std::set<char*> bases;
  for (auto s : all) bases.insert(s.base());
  ASSERT_EQ(bases.size(), 1000u);
  for (auto i = bases.begin(); std::next(i) != bases.end(); ++i) EXPECT_GE(*std::next(i) - *i, std::ptrdiff_t{size});
  pool.give_back(all);
}

TEST(stack_pool, reserving_and_taking_costs_no_memory) {
  stack_class pool(size, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(256));
  const auto all = take(pool, 256);
  for (auto s : all) EXPECT_EQ(resident_pages(s.base() + os::page_size, size - os::page_size), 0u);
  touch(all[3], 2);
  EXPECT_EQ(resident_pages(all[3].base() + os::page_size, size - os::page_size), 2u);
  pool.give_back(all);
}

TEST(stack_pool, the_last_stack_given_back_is_the_first_one_taken) {
  stack_class pool(size, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(10));
  const auto all = take(pool, 10);
  pool.give_back(all);
  EXPECT_EQ(pool.warm_count(), 10u);
  stack_ref s;
  ASSERT_EQ(pool.acquire({&s, 1}), 1u);
  EXPECT_EQ(s.base(), all.back().base());
}

TEST(stack_pool, trimming_gives_memory_back) {
  stack_class pool(size, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(20));
  const auto all = take(pool, 20);
  for (auto s : all) touch(s, 10);
  pool.give_back(all);
  const auto resident = [&] {
    std::size_t n = 0;
    for (auto s : all) n += resident_pages(s.base() + os::page_size, size - os::page_size);
    return n;
  };
  EXPECT_EQ(resident(), 200u);
  pool.trim(5);
  // Five stay warm with what lies near their tops.
  EXPECT_EQ(resident(), 5u * 4);
  EXPECT_EQ(pool.warm_count(), 5u);
  pool.trim(0);
  EXPECT_EQ(resident(), 0u);
  // They can be taken again, the same ones, and read as zero.
  const auto again = take(pool, 20);
  ASSERT_EQ(again.size(), 20u);
  for (auto s : again) EXPECT_EQ(*static_cast<volatile char*>(s.base() + size - 1), 0);
  pool.give_back(again);
}

TEST(stack_pool, no_huge_pages) {
  stack_class pool(std::size_t{4} << 20, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(2));
  const auto all = take(pool, 2);
  *static_cast<volatile char*>(all[0].base() + (std::size_t{4} << 20) - 1) = 1;
  EXPECT_EQ(resident_pages(all[0].base() + os::page_size, (std::size_t{4} << 20) - os::page_size), 1u);
  pool.give_back(all);
}

TEST(stack_pool, exhausted_address_space_is_told_and_survived) {
#if defined(THRUM_ASAN) || defined(THRUM_TSAN)
  GTEST_SKIP() << "sanitizers take terabytes of address space for themselves, more than the limit leaves";
#endif
  const pid_t child = ::fork();
  if (child == 0) {
    stack_class pool(std::size_t{1} << 20, guard_mode::automatic);
    rlimit limit{.rlim_cur = std::size_t{2} << 30, .rlim_max = RLIM_INFINITY};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(1);
    if (os::reserve(std::size_t{100'000} << 20) != nullptr) ::_exit(77);  // qemu-user does not keep this limit.
    if (pool.ensure_capacity(100'000)) ::_exit(2);                        // 100 GB.
    const auto capacity = pool.capacity();
    if (capacity < 16) ::_exit(3);  // A smaller region did fit.
    const auto all = take(pool, capacity + 1);
    ::_exit(all.size() == capacity ? 0 : 4);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "RLIMIT_AS has no effect here, as under qemu-user";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(stack_pool, many_threads_take_and_give_back) {
  stack_class pool(size, guard_mode::automatic);
  ASSERT_TRUE(pool.ensure_capacity(400));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 200; ++round) {
        std::vector<stack_ref> mine(static_cast<std::size_t>(1 + (round * 7 + t) % 50));
        mine.resize(pool.acquire(mine));
        for (auto s : mine) {
          auto& word = *reinterpret_cast<std::uint64_t*>(s.base() + size - 64);
          word = static_cast<std::uint64_t>(t);
        }
        for (auto s : mine)
          EXPECT_EQ(*reinterpret_cast<std::uint64_t*>(s.base() + size - 64), static_cast<std::uint64_t>(t));
        pool.give_back(mine);
        if (round % 50 == 0) pool.trim(10);
      }
    });
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace thrum::context
