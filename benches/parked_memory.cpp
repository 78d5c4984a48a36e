// parked_memory: N fibers sleep; memory is read while all of them are alive and asleep, CPU time at the end.
#include <atomic>

#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void park(const bench::options& o) {
  long n = o.scaled(1000000);
  auto before = bench::memory_of();
  double cpu = bench::cpu_seconds();
  std::atomic<long> started{0}, ended{0};
  auto nap = std::chrono::nanoseconds(long(o.seconds * 1e9));
  for (long i = 0; i < n; ++i)
    thrum::go([&started, &ended, nap] {
      ++started;
      thrum::this_fiber::sleep_for(nap);
      ++ended;
    });
  while (started < n) thrum::this_fiber::sleep_for(1ms);
  thrum::this_fiber::sleep_for(500ms);
  auto parked = bench::memory_of();
  double idle = bench::idle_cpu_ms_per_s([] { thrum::this_fiber::sleep_for(1s); });
  if (ended != 0) bench::fail("Some fibers ended before all had been measured: give more --seconds.", 1);
  while (ended < n) thrum::this_fiber::sleep_for(10ms);
  bench::report_parked(n, before, parked, idle);
  bench::report(bench::size_name(n), "cpu_s", bench::cpu_seconds() - cpu, "s");
}

int main(int argc, char** argv) { return bench::in_runtime(argc, argv, park); }
