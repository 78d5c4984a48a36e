// What a process uses: memory and CPU time, read from /proc and the process clocks.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace thrum::lab {

// A number behind `key` in a file like /proc/self/status; 0 when it is missing.
std::int64_t status_value(const std::string& file, const std::string& key);
// The same from /proc/meminfo, in bytes.
double meminfo(const std::string& key);

// Resident memory of one process now, in bytes; its page tables too.
double resident_bytes(pid_t pid);
double page_table_bytes(pid_t pid);
double resident_bytes_peak(pid_t pid);

// Memory of many similar processes: proportional share (PSS), so that a page that n share counts 1/n for
// each. At most 256 of them are read, evenly chosen, as one reading takes some 0.1 ms.
double proportional_bytes(const std::vector<pid_t>& pids);

// What the kernel itself holds for all its processes: kernel stacks, page tables, unreclaimable slab. Only
// differences mean something.
double kernel_bytes();

// CPU time that the (live) processes have used so far, in seconds.
double cpu_seconds(const std::vector<pid_t>& pids);

// The share of all processors' time, from 0 to 1, that is used during the next `span`.
double busy_share(std::chrono::milliseconds span);

// `leader` and its children.
std::vector<pid_t> family(pid_t leader);

}  // namespace thrum::lab
