// How many processors: never none, and never more than the affinity mask allows.
#include "os/cpus.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <sched.h>

#include <gtest/gtest.h>

namespace thrum::os {
namespace {

// A made-up hierarchy in a directory of its own.
class cgroup : public ::testing::Test {
 protected:
  cgroup() {
    std::string name = ::testing::TempDir() + "thrum-cgroup-XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~cgroup() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  unsigned quota() const { return cgroup_quota_cpus(root_ / "list", root_); }

  static constexpr unsigned none = ~0u;
  std::filesystem::path root_;
};

TEST_F(cgroup, without_a_list_or_files_there_is_no_quota) {
  EXPECT_EQ(quota(), none);
  write("list", "0::/user/slice\n");
  EXPECT_EQ(quota(), none);
  write("list", "nonsense\n\n::\n4:cpu\n");
  EXPECT_EQ(quota(), none);
}

TEST_F(cgroup, v2_takes_the_least_of_every_level_rounded_up) {
  write("list", "0::/a/b/c\n");
  write("a/b/c/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), none);
  write("a/cpu.max", "350000 100000\n");
  EXPECT_EQ(quota(), 4u);
  write("a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 2u);
  write("cpu.max", "1000 100000\n");  // Also at the root, which a container sees of its own group.
  EXPECT_EQ(quota(), 1u);
}

TEST_F(cgroup, v1_takes_quota_over_period) {
  write("list", "5:memory:/x\n4:cpu,cpuacct:/g/h\n1:name=systemd:/\n");
  write("cpu/g/h/cpu.cfs_quota_us", "-1\n");
  write("cpu/g/h/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), none);
  write("cpu/g/cpu.cfs_quota_us", "50001\n");
  write("cpu/g/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quota(), 2u);
}

TEST_F(cgroup, groups_of_other_controllers_do_not_matter) {
  write("list", "4:cpuset:/g\n3:cpuacct:/g\n");
  write("cpu/g/cpu.cfs_quota_us", "1000\n");
  write("cpu/g/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), none);
}

TEST_F(cgroup, what_makes_no_sense_is_no_quota) {
  write("list", "0::/a\n");
  for (const char* text : {"", "\n", "max", "x y", "0 100000", "-5 100000", "100000 0"}) {
    write("a/cpu.max", text);
    EXPECT_EQ(quota(), none) << text;
  }
}

TEST(cpus, is_between_one_and_the_affinity_mask) {
  cpu_set_t mask;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
  EXPECT_GE(available_cpus(), 1u);
  EXPECT_LE(available_cpus(), static_cast<unsigned>(CPU_COUNT(&mask)));
}

TEST(cpus, follows_the_affinity_of_the_calling_thread) {
  std::thread t([] {
    cpu_set_t mask, one;
    ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &mask)) ++cpu;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(available_cpus(), 1u);
  });
  t.join();
}

}  // namespace
}  // namespace thrum::os
