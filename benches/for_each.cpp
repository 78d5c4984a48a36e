// for_each: for_each_concurrent over a million items with nothing to do, at most 64 at a time. One operation is one
// item, times the number of workers, so that it is the processors' time whatever their number.
#include <atomic>

#include "thrum_bench.hpp"

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    const std::vector<char> items(std::size_t(o.scaled(1000000)));
    std::atomic<std::size_t> seen{0};
    thrum::for_each_concurrent(items, 64, [&](char) { ++seen; });  // Warms up, too.
    if (seen != items.size()) bench::fail("for_each_concurrent lost an item.", 1);
    const double ns = bench::timed_ns([&] { thrum::for_each_concurrent(items, 64, [](char) {}); });
    bench::report("", "ns_op", ns * o.workers / double(items.size()), "ns");
  });
}
