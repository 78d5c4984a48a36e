// timers: a thousand fibers wait for data with a time limit of one hour; the data come before it each time.
// One operation is one such wait: a timer created, a wake-up, the timer cancelled. The suffix `scope`
// measures a deadline that is set and cancelled with nothing happening in between.
#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void timed_waits(long n) {
  constexpr long waiters = 1000;
  long rounds = n / waiters + 1;
  std::vector<thrum::channel<long>> inbox;
  for (long i = 0; i < waiters; ++i) inbox.emplace_back(0);
  auto all = bench::start(waiters, [&inbox, rounds](long i) {
    auto in = inbox[std::size_t(i)];
    for (long r = 0; r < rounds; ++r)
      if (!in.receive_for(1h)) bench::fail("A limit of one hour has passed too early.", 1);
  });
  for (long r = 0; r < rounds; ++r)
    for (auto& in : inbox) in.send(r);
  bench::join(all);
}

static void deadlines(long n) {
  for (long i = 0; i < n; ++i) {
    thrum::scope limited{.deadline = 1h};
    limited.join();
  }
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    bench::measure("", o.scaled(1000000), timed_waits);
    bench::measure("scope", o.scaled(1000000), deadlines);
  });
}
