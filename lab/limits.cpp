// Reads the limits from where the kernel shows them. Nothing here changes a limit, except
// allow_descriptors().

#include "lab/limits.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>
#include <vector>

#include "lab/report.hpp"
#include "lab/usage.hpp"

namespace thrum::lab {
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

std::int64_t read_number(const std::string& file) {
  std::ifstream in(file);
  std::int64_t value = 0;
  return in >> value ? value : unlimited;  // "max" and a missing file both mean that there is no limit here.
}

std::string counted(std::int64_t n) { return show(static_cast<double>(n), unit::count); }

// The control groups (v2) that we are in, innermost first.
std::vector<std::string> control_groups() {
  std::vector<std::string> found;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::string path = line.substr(3); path.size() > 1; path.erase(path.find_last_of('/')))
      found.push_back("/sys/fs/cgroup" + path + "/");
  }
  found.emplace_back("/sys/fs/cgroup/");
  return found;
}

// "running/total" is the fourth word of /proc/loadavg.
std::int64_t tasks_now() {
  std::ifstream in("/proc/loadavg");
  std::string word;
  for (int i = 0; i < 4; ++i) in >> word;
  std::size_t slash = word.find('/');
  return slash == std::string::npos ? 0 : std::stoll(word.substr(slash + 1));
}

// Threads of all processes of this user: what RLIMIT_NPROC counts.
std::int64_t tasks_of_user() {
  std::int64_t sum = 0;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return 0;
  while (dirent* entry = readdir(proc)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    std::string file = std::string("/proc/") + entry->d_name + "/status";
    if (status_value(file, "Uid:") == static_cast<std::int64_t>(getuid())) sum += status_value(file, "Threads:");
  }
  closedir(proc);
  return sum;
}

// RLIMIT_NPROC does not bind whoever has CAP_SYS_RESOURCE (bit 24) or CAP_SYS_ADMIN (bit 21).
bool exempt_from_nproc() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("CapEff:")) return (std::stoull(line.substr(7), nullptr, 16) & ((1u << 24) | (1u << 21))) != 0;
  return false;
}

void consider(kernel_task_room& least, std::int64_t limit, std::int64_t used, std::int64_t reserve,
              const std::string& name) {
  if (limit == unlimited || limit - used - reserve >= least.tasks) return;
  least.tasks = std::max<std::int64_t>(limit - used - reserve, 0);
  least.limit = fmt::format("{} is {}", name, counted(limit));
  if (reserve > 0) least.limit += fmt::format(" ({} kept free)", counted(reserve));
}

std::int64_t reserve_of(std::int64_t limit) { return std::max<std::int64_t>(limit / 16, 256); }

kernel_task_room least_room(bool with_reserve) {
  kernel_task_room least{unlimited, "no known limit"};
  auto reserve = [&](std::int64_t limit) { return with_reserve && limit != unlimited ? reserve_of(limit) : 0; };
  std::int64_t now = tasks_now();
  for (const char* name : {"pid_max", "threads-max"}) {
    std::int64_t limit = read_number(std::string("/proc/sys/kernel/") + name);
    consider(least, limit, now, reserve(limit), std::string("kernel.") + name);
  }
  for (const std::string& group : control_groups()) {
    std::int64_t limit = read_number(group + "pids.max");
    consider(least, limit, read_number(group + "pids.current"), reserve(limit) / 4, "the control group's pids.max");
  }
  rlimit own{};
  getrlimit(RLIMIT_NPROC, &own);
  if (own.rlim_cur != RLIM_INFINITY && !exempt_from_nproc())
    consider(least, static_cast<std::int64_t>(own.rlim_cur), tasks_of_user(), 0, "RLIMIT_NPROC");
  return least;
}

std::int64_t mappings_now() {
  std::ifstream in("/proc/self/maps");
  return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
}

struct memory_state {
  double available;
  double total;
};

memory_state memory_now() {
  memory_state m{meminfo("MemAvailable:"), meminfo("MemTotal:")};
  for (const std::string& group : control_groups()) {
    std::int64_t limit = read_number(group + "memory.max");
    std::int64_t used = read_number(group + "memory.current");
    if (limit == unlimited || used == unlimited || static_cast<double>(limit - used) >= m.available) continue;
    m = {static_cast<double>(limit - used), static_cast<double>(limit)};
  }
  return m;
}

}  // namespace

kernel_task_room room_for_kernel_tasks() { return least_room(true); }

bool enough_memory() {
  memory_state m = memory_now();
  return m.available * 100 > m.total * memory_reserve_percent;
}

std::string memory_guard_phrase() {
  return fmt::format("the lab's memory guard: under {}% of {} left", memory_reserve_percent,
                     show(memory_now().total, unit::bytes));
}

std::string explain_kernel_tasks(int error) {
  std::int64_t maps_max = read_number("/proc/sys/vm/max_map_count");
  if (std::int64_t maps = mappings_now(); maps_max != unlimited && maps + 8 >= maps_max)
    return fmt::format("vm.max_map_count is {}", counted(maps_max));
  kernel_task_room room = least_room(false);
  if (room.tasks < 64) return room.limit;
  return fmt::format("the kernel refused it ({})", std::generic_category().message(error));
}

std::string explain_descriptors(int error) {
  if (error == EMFILE) return fmt::format("RLIMIT_NOFILE, the limit of open files, is {}", counted(descriptors_max()));
  return fmt::format("the kernel refused a descriptor ({})", std::generic_category().message(error));
}

std::optional<std::string> allow_descriptors(std::int64_t needed) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  auto wanted = static_cast<rlim_t>(needed);
  if (limit.rlim_cur >= wanted) return std::nullopt;
  if (limit.rlim_max < wanted)
    return fmt::format("the hard limit of open files (RLIMIT_NOFILE) is {}",
                       counted(static_cast<std::int64_t>(limit.rlim_max)));
  limit.rlim_cur = wanted;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return std::nullopt;
  return fmt::format("the limit of open files cannot be raised ({})", std::generic_category().message(errno));
}

std::int64_t descriptors_max() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_max == RLIM_INFINITY ? unlimited : static_cast<std::int64_t>(limit.rlim_max);
}

std::int64_t local_ports() {
  std::ifstream in("/proc/sys/net/ipv4/ip_local_port_range");
  std::int64_t low = 32768;
  std::int64_t high = 60999;
  in >> low >> high;
  return high - low + 1;
}

}  // namespace thrum::lab
