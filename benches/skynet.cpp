// skynet: a tree of fibers with ten children each; every leaf sends its number, every node the sum of its
// children, over unbuffered channels. One operation is one leaf.
#include "thrum_bench.hpp"

static void node(thrum::channel<long> result, long first, long size) {
  if (size == 1) return result.send(first);
  thrum::channel<long> children(0);
  for (long i = 0; i < 10; ++i) thrum::go([=] { node(children, first + i * size / 10, size / 10); });
  long sum = 0;
  for (long i = 0; i < 10; ++i) sum += *children.receive();
  result.send(sum);
}

static void tree(long leaves) {
  long size = 1;
  while (size < leaves) size *= 10;
  thrum::channel<long> result(0);
  thrum::go([=] { node(result, 0, size); });
  if (*result.receive() != size * (size - 1) / 2) bench::fail("skynet computed a wrong sum.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) { bench::measure("", o.scaled(1000000), tree); });
}
