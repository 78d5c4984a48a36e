// process_call: a fiber calls a function of 64 bytes in the one worker of a process_pool.
#include <array>

#include "thrum_bench.hpp"

using block = std::array<char, 64>;

static block echo(const block& b) { return b; }

static void call(thrum::process_pool& pool, long n) {
  block sent{};
  for (long i = 0; i < n; ++i) {
    std::memcpy(sent.data(), &i, sizeof i);
    if (pool.call(echo, sent) != sent) bench::fail("The worker answered something else.", 1);
  }
}

int main(int argc, char** argv) {
  thrum::process_pool::serve_if_worker();
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    thrum::process_pool pool({.workers = 1});
    bench::measure("", o.scaled(200000), [&](long n) { call(pool, n); });
    pool.join();
  });
}
