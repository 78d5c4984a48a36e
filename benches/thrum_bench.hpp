// What thrum's own benchmark programs share, beyond bench.hpp: a runtime of the wanted size.
#pragma once
#include <thrum/thrum.hpp>

#include "bench.hpp"

namespace bench {

// Runs `work(options)` as the main fiber of a runtime with --workers workers.
template <class F>
int in_runtime(int argc, char** argv, F&& work) {
  options o = parse(argc, argv);
  thrum::runtime_options runtime;
  runtime.workers = o.workers;
  return thrum::run(runtime, [&] { work(o); });
}

// Starts n fibers that each run work(i).
template <class F>
std::vector<thrum::fiber> start(long n, F work) {
  std::vector<thrum::fiber> all;
  all.reserve(std::size_t(n));
  for (long i = 0; i < n; ++i) all.push_back(thrum::spawn([work, i]() mutable { work(i); }));
  return all;
}

inline void join(std::vector<thrum::fiber>& all) {
  for (auto& f : all) f.join();
}

}  // namespace bench
