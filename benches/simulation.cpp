// simulation: what simulating costs. One operation is a decision, among 8 fibers that yield and 8 that pass elements on
// through a channel. `hour`: an hour of virtual time, in which 100 fibers sleep for a second each time.
#include <thrum/sim.hpp>

#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void decide(long rounds) {
  thrum::channel<long> ch(4);
  auto all = bench::start(16, [&](long i) {
    for (long k = 0; k < rounds; ++k) {
      if (i < 8)
        thrum::this_fiber::yield();
      else if (i < 12)
        ch.send(k);
      else
        ch.receive();
    }
  });
  bench::join(all);
}

static void sleep_for_an_hour() {
  auto all = bench::start(100, [](long) {
    for (int second = 0; second < 3600; ++second) thrum::this_fiber::sleep_for(1s);
  });
  bench::join(all);
}

int main(int argc, char** argv) {
  const bench::options o = bench::parse(argc, argv);
  const thrum::sim::options unbounded{.decisions_max = 1'000'000'000};
  thrum::sim::trace t;
  const double ns = bench::timed_ns([&] { t = thrum::sim::run(unbounded, [&] { decide(o.scaled(100000)); }); });
  bench::report("", "ns_op", ns / double(t.decisions), "ns");
  const double hour_ns = bench::timed_ns([&] { t = thrum::sim::run(unbounded, sleep_for_an_hour); });
  if (t.elapsed < 1h) bench::fail("The hour was too short.", 1);
  bench::report("hour", "ms", hour_ns / 1e6, "ms");
}
