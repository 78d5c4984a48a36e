// chan_throughput: producers and consumers share one channel of 128 elements; one operation is one message.
#include <atomic>

#include "thrum_bench.hpp"

static void pump(long n, long pairs) {
  thrum::channel<long> ch(128);
  long each = n / pairs;
  std::atomic<long> total{0};
  auto producers = bench::start(pairs, [ch, each](long) mutable {
    for (long i = 0; i < each; ++i) ch.send(i);
  });
  auto consumers = bench::start(pairs, [ch, &total](long) mutable {
    long sum = 0;
    while (auto v = ch.receive()) sum += *v;
    total += sum;
  });
  bench::join(producers);
  ch.close();
  bench::join(consumers);
  if (total != pairs * (each * (each - 1) / 2)) bench::fail("chan_throughput lost a message.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    bench::measure("1x1", o.scaled(5000000), [](long n) { pump(n, 1); });
    bench::measure("4x4", o.scaled(5000000), [](long n) { pump(n, 4); });
  });
}
