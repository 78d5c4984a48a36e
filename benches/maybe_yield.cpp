// maybe_yield: a loop offers to give way all the time, while another fiber sleeps beside it: one offer.
#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void offer_to_give_way(const bench::options& o) {
  auto sleeper = thrum::spawn([] {
    for (;;) thrum::this_fiber::sleep_for(1ms);
  });
  bench::measure("", o.scaled(200'000'000), [](long n) {
    thrum::cpu([n] {
      for (long i = 0; i < n; ++i) thrum::this_fiber::maybe_yield();
    });
  });
  sleeper.request_stop();
  sleeper.join();
}

int main(int argc, char** argv) { return bench::in_runtime(argc, argv, offer_to_give_way); }
