// Affinity mask and cgroup quota at every level: the quota of a container applies to the groups inside it too.
#include "os/cpus.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <sched.h>
#include <unistd.h>

namespace thrum::os {
namespace {

unsigned affinity_cpus() noexcept {
  // A kernel built for more CPUs than the set holds answers EINVAL: ask with larger sets.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const auto size = CPU_ALLOC_SIZE(cpus);
    const bool ok = ::sched_getaffinity(0, size, set) == 0;
    const int count = ok ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (ok) return static_cast<unsigned>(std::max(count, 1));
  }
  return static_cast<unsigned>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

bool read_line(const std::string& path, char* text, int size) noexcept {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  return file && std::fgets(text, size, file.get());
}

unsigned round_up(long long quota, long long period) noexcept {
  if (quota <= 0 || period <= 0) return ~0u;
  return static_cast<unsigned>(std::min(quota / period + (quota % period != 0), 0LL + ~0u));
}

unsigned v2_quota(const std::string& dir) {
  char text[128];
  long long quota = 0, period = 0;
  if (!read_line(dir + "/cpu.max", text, sizeof text)) return ~0u;
  return std::sscanf(text, "%lld %lld", &quota, &period) == 2 ? round_up(quota, period) : ~0u;  // "max" fails here.
}

unsigned v1_quota(const std::string& dir) {
  char quota[64], period[64];
  if (!read_line(dir + "/cpu.cfs_quota_us", quota, sizeof quota)) return ~0u;
  if (!read_line(dir + "/cpu.cfs_period_us", period, sizeof period)) return ~0u;
  long long q = 0, p = 0;
  return std::sscanf(quota, "%lld", &q) == 1 && std::sscanf(period, "%lld", &p) == 1 ? round_up(q, p) : ~0u;
}

// The least quota from `mount + path` up to `mount`.
unsigned least_quota(const std::string& mount, std::string path, unsigned (*quota)(const std::string&)) {
  unsigned least = ~0u;
  for (;;) {
    least = std::min(least, quota(mount + path));
    const auto slash = path.find_last_of('/');
    if (path.empty() || slash == std::string::npos) return least;
    path.resize(slash);
  }
}

}  // namespace

unsigned cgroup_quota_cpus(const std::string& list_file, const std::string& mount) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(list_file.c_str(), "re"), &std::fclose);
  unsigned least = ~0u;
  char line[4096];
  while (file && std::fgets(line, sizeof line, file.get())) {
    line[std::strcspn(line, "\n")] = '\0';
    char* controllers = std::strchr(line, ':');
    char* path = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (!path) continue;
    *path++ = '\0';
    const std::string list = std::string(",") + (controllers + 1) + ",";
    if (list == ",,") least = std::min(least, least_quota(mount, path, v2_quota));
    if (list.find(",cpu,") != std::string::npos) least = std::min(least, least_quota(mount + "/cpu", path, v1_quota));
  }
  return least;
}

unsigned available_cpus() noexcept {
  unsigned quota = ~0u;
  try {
    quota = cgroup_quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  } catch (...) {  // Out of memory while reading a path: the affinity mask alone decides.
  }
  return std::max(1u, std::min(affinity_cpus(), quota));
}

}  // namespace thrum::os
