// select: four producers, each with an unbuffered channel of its own; one consumer selects over the four.
#include <array>

#include "thrum_bench.hpp"

static void consume(long n) {
  std::array<thrum::channel<long>, 4> ch;
  for (auto& c : ch) c = thrum::channel<long>(0);
  long each = n / 4, sum = 0;
  auto producers = bench::start(4, [ch, each](long i) mutable {
    for (long k = 0; k < each; ++k) ch[std::size_t(i)].send(k);
  });
  auto take = [&sum](std::optional<long> v) { sum += *v; };
  for (long i = 0; i < each * 4; ++i)
    thrum::select(ch[0].on_receive(take), ch[1].on_receive(take), ch[2].on_receive(take), ch[3].on_receive(take));
  bench::join(producers);
  if (sum != 4 * (each * (each - 1) / 2)) bench::fail("select lost a message.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) { bench::measure("", o.scaled(2000000), consume); });
}
