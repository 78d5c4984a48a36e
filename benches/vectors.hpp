// What parallel computes, for all programs in C++: y = a * x + y and the sum of y, over vectors of doubles that hold
// small whole numbers, so that every sum is exact in whatever order it is added up.
#pragma once
#include <vector>

#include "bench.hpp"

namespace bench {

struct vectors {
  static constexpr double a = 2;
  std::vector<double> x, y;

  explicit vectors(long n) : x(std::size_t(n)), y(std::size_t(n), 1) {
    for (long i = 0; i < n; ++i) x[std::size_t(i)] = double(i % 8);
  }

  // add(n) computes y = a * x + y over the first n elements, sum(n) returns the sum of the first n of y.
  template <class Add, class Sum>
  void measure(Add add, Sum sum) {
    const long n = long(x.size());
    double total = 0;
    bench::measure("for", n, add);
    bench::measure("reduce", n, [&](long k) { total = sum(k); });
    double expected = 0;
    for (long i = 0; i < n; ++i) expected += 1 + (i < std::max(1L, n / 10) ? 2 : 1) * a * double(i % 8);
    if (total != expected) fail("parallel computed a wrong sum.", 1);
  }
};

}  // namespace bench
