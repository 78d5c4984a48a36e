// Timing of small things: the median of several runs, so that one disturbance does not count.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>

namespace thrum::lab {

// Nanoseconds for one of `n` operations; `f(n)` does them all.
template <class F>
double ns_each(int n, F&& f) {
  std::array<double, 7> runs{};
  for (double& ns : runs) {
    auto start = std::chrono::steady_clock::now();
    f(n);
    ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / n;
  }
  std::nth_element(runs.begin(), runs.begin() + runs.size() / 2, runs.end());
  return runs[runs.size() / 2];
}

}  // namespace thrum::lab
