// yield: eight fibers yield in a loop; one operation is one yield.
#include "thrum_bench.hpp"

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    bench::measure("", o.scaled(4000000), [](long n) {
      auto all = bench::start(8, [n](long) {
        for (long i = 0; i < n / 8; ++i) thrum::this_fiber::yield();
      });
      bench::join(all);
    });
  });
}
