// ring: a thousand fibers in a ring of unbuffered channels pass one token on; one operation is one hop.
#include "thrum_bench.hpp"

static void laps_of_token(long n) {
  constexpr long nodes = 1000;
  long laps = n / nodes + 1;
  std::vector<thrum::channel<long>> links;
  for (long i = 0; i < nodes; ++i) links.emplace_back(0);
  auto all = bench::start(nodes - 1, [&links, laps](long i) {
    auto in = links[std::size_t(i)], out = links[std::size_t(i) + 1];
    for (long l = 0; l < laps; ++l) out.send(*in.receive() + 1);
  });
  long token = 0;
  for (long l = 0; l < laps; ++l) {
    links.front().send(token);
    token = *links.back().receive();
  }
  bench::join(all);
  if (token != laps * (nodes - 1)) bench::fail("The ring's token lost a hop.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv,
                           [](const bench::options& o) { bench::measure("", o.scaled(2000000), laps_of_token); });
}
