// contended: 8, 64 and 1,000 fibers want the same mutex, shared mutex (95% readers) or semaphore. See contention.hpp.
#include "contention.hpp"
#include "thrum_bench.hpp"

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    auto start = [](long n, auto work) { return bench::start(n, work); };
    auto join = [](auto& all) { bench::join(all); };
    bench::contention<thrum::latch, thrum::mutex, thrum::shared_mutex, thrum::counting_semaphore<>, decltype(start),
                      decltype(join)>(o, start, join)
        .measure(o.scaled(10000000));
  });
}
