// Readers of /proc; a process that has gone meanwhile counts as nothing.

#include "lab/usage.hpp"

#include <fmt/format.h>
#include <time.h>

#include <fstream>

namespace thrum::lab {
namespace {

std::string proc_file(pid_t pid, const char* name) { return fmt::format("/proc/{}/{}", pid, name); }

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

std::vector<pid_t> family(pid_t leader) {
  std::vector<pid_t> pids{leader};
  std::ifstream in(fmt::format("/proc/{0}/task/{0}/children", leader));
  for (pid_t pid = 0; in >> pid;) pids.push_back(pid);
  return pids;
}

}  // namespace thrum::lab
