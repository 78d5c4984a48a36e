// What parked_memory asks, for all programs in C++: N activities wait at the same time, and what do they weigh? A
// program supplies how they are started, how it sleeps itself, and how it waits for their end.
#pragma once
#include <atomic>
#include <chrono>

#include "bench.hpp"

namespace bench {

// Made before the first is started. Each activity adds one to `started`, waits, and adds one to `ended`.
class parked {
 public:
  explicit parked(long n) : n_(n) {}

  // Samples memory, and the CPU time of doing nothing, while all of them wait. sleep(d) sleeps for a duration.
  template <class Sleep>
  void weigh(Sleep sleep) {
    while (started < n_) sleep(std::chrono::milliseconds(1));
    sleep(std::chrono::milliseconds(500));
    weighed_ = memory_of();
    idle_ = idle_cpu_ms_per_s([&] { sleep(std::chrono::seconds(1)); });
    if (ended != 0) fail("Some ended before all had been measured: give more --seconds.", 1);
  }

  // Once all have ended.
  void report() const {
    report_parked(n_, before_, weighed_, idle_);
    bench::report(size_name(n_), "cpu_s", cpu_seconds() - cpu_before_, "s");
  }
  // Where memory alone is asked for.
  void report_rss() const {
    bench::report(size_name(n_), "rss_bytes_each", (weighed_.rss_bytes - before_.rss_bytes) / double(n_), "bytes");
  }

  std::atomic<long> started{0}, ended{0};

 private:
  const long n_;
  const memory before_ = memory_of();
  const double cpu_before_ = cpu_seconds();
  memory weighed_;
  double idle_ = 0;
};

}  // namespace bench
