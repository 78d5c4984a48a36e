// spawn_join: start a fiber and wait for its end. One at a time; `batch`: a thousand, then wait for all.
#include "thrum_bench.hpp"

static void one_at_a_time(long n) {
  for (long i = 0; i < n; ++i) thrum::spawn([] {}).join();
}

static void in_batches(long n) {
  std::vector<thrum::fiber> all(1000);
  for (long i = 0; i < n; i += 1000) {
    for (auto& f : all) f = thrum::spawn([] {});
    bench::join(all);
  }
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    bench::measure("", o.scaled(1000000), one_at_a_time);
    bench::measure("batch", o.scaled(1000000), in_batches);
  });
}
