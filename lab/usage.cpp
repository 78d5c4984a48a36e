// Readers of /proc; a process that has gone meanwhile counts as nothing.

#include "lab/usage.hpp"

#include <fmt/format.h>
#include <time.h>

#include <fstream>
#include <thread>

namespace thrum::lab {
namespace {

std::string proc_file(pid_t pid, const char* name) { return fmt::format("/proc/{}/{}", pid, name); }

struct processor_time {
  double idle = 0, all = 0;
};

// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
processor_time processor_time_now() {
  std::ifstream in("/proc/stat");
  std::string name;
  in >> name;
  processor_time t;
  double ticks = 0;
  for (int i = 0; i < 8 && in >> ticks; ++i) {
    t.all += ticks;
    if (i == 3 || i == 4) t.idle += ticks;
  }
  return t;
}

double kibibytes(const std::string& file, const char* key) {
  return static_cast<double>(status_value(file, key)) * 1024;
}

}  // namespace

std::int64_t status_value(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::strtoll(line.c_str() + key.size(), nullptr, 10);
  return 0;
}

double meminfo(const std::string& key) { return kibibytes("/proc/meminfo", key.c_str()); }
double resident_bytes(pid_t pid) { return kibibytes(proc_file(pid, "status"), "VmRSS:"); }
double resident_bytes_peak(pid_t pid) { return kibibytes(proc_file(pid, "status"), "VmHWM:"); }
double page_table_bytes(pid_t pid) { return kibibytes(proc_file(pid, "status"), "VmPTE:"); }

double proportional_bytes(const std::vector<pid_t>& pids) {
  if (pids.empty()) return 0;
  constexpr std::size_t samples_max = 256;
  std::size_t samples = std::min(samples_max, pids.size());
  double sum = 0;
  for (std::size_t i = 0; i < samples; ++i)
    sum += kibibytes(proc_file(pids[i * pids.size() / samples], "smaps_rollup"), "Pss:");
  return sum / static_cast<double>(samples) * static_cast<double>(pids.size());
}

double kernel_bytes() { return meminfo("KernelStack:") + meminfo("PageTables:") + meminfo("SUnreclaim:"); }

double cpu_seconds(const std::vector<pid_t>& pids) {
  double sum = 0;
  for (pid_t pid : pids) {
    clockid_t clock = 0;
    timespec used{};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) continue;
    sum += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
  }
  return sum;
}

double busy_share(std::chrono::milliseconds span) {
  processor_time before = processor_time_now();
  std::this_thread::sleep_for(span);
  processor_time after = processor_time_now();
  double all = after.all - before.all;
  return all > 0 ? 1 - (after.idle - before.idle) / all : 0;
}

std::vector<pid_t> family(pid_t leader) {
  std::vector<pid_t> pids{leader};
  std::ifstream in(fmt::format("/proc/{0}/task/{0}/children", leader));
  for (pid_t pid = 0; in >> pid;) pids.push_back(pid);
  return pids;
}

}  // namespace thrum::lab
