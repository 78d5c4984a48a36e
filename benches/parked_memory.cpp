// parked_memory: N fibers sleep; memory is read while all of them are alive and asleep, CPU time at the end.
#include "parked.hpp"

#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void park(const bench::options& o) {
  const long n = o.scaled(1000000);
  bench::parked all(n);
  auto nap = std::chrono::nanoseconds(long(o.seconds * 1e9));
  for (long i = 0; i < n; ++i)
    thrum::go([&all, nap] {
      ++all.started;
      thrum::this_fiber::sleep_for(nap);
      ++all.ended;
    });
  all.weigh([](auto d) { thrum::this_fiber::sleep_for(d); });
  while (all.ended < n) thrum::this_fiber::sleep_for(10ms);
  all.report();
}

int main(int argc, char** argv) { return bench::in_runtime(argc, argv, park); }
