// mutex: eight fibers increment one counter under one lock; one operation is lock, increment, unlock.
#include <mutex>

#include "thrum_bench.hpp"

static void contend(long n) {
  thrum::mutex lock;
  long counter = 0;
  auto all = bench::start(8, [&lock, &counter, n](long) {
    for (long i = 0; i < n / 8; ++i) {
      std::lock_guard guard(lock);
      ++counter;
    }
  });
  bench::join(all);
  if (counter != n / 8 * 8) bench::fail("The mutex lost an increment.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) { bench::measure("", o.scaled(8000000), contend); });
}
