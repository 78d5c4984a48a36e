// parallel: parallel_for and parallel_reduce over a hundred million doubles. One operation is one element.
#include "thrum_bench.hpp"
#include "vectors.hpp"

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    bench::vectors v(o.scaled(100000000));
    const double* x = v.x.data();
    double* y = v.y.data();
    v.measure([=](long n) { thrum::parallel_for(0L, n, [=](long i) { y[i] = bench::vectors::a * x[i] + y[i]; }); },
              [=](long n) { return thrum::parallel_reduce(0L, n, 0.0, std::plus<>(), [=](long i) { return y[i]; }); });
  });
}
