// The oneTBB peer: parallel_for and parallel_reduce over a blocked_range, the form that its manual recommends, with the
// default partitioner. It has no activities that wait, so it offers nothing else.
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>

#include "../../bench.hpp"
#include "../../vectors.hpp"

using range = tbb::blocked_range<long>;

namespace {

void add(double* y, const double* x, long n) {
  tbb::parallel_for(range(0, n), [=](const range& r) {
    for (long i = r.begin(); i < r.end(); ++i) y[i] = bench::vectors::a * x[i] + y[i];
  });
}

double sum(const double* y, long n) {
  auto part = [=](const range& r, double total) {
    for (long i = r.begin(); i < r.end(); ++i) total += y[i];
    return total;
  };
  return tbb::parallel_reduce(range(0, n), 0.0, part, std::plus<>());
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  if (o.bench != "parallel") bench::fail("The onetbb peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  tbb::global_control limit(tbb::global_control::max_allowed_parallelism, o.workers);
  bench::vectors v(o.scaled(100000000));
  v.measure([&](long n) { add(v.y.data(), v.x.data(), n); }, [&](long n) { return sum(v.y.data(), n); });
}
