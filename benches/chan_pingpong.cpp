// chan_pingpong: one operation is one round trip between two fibers over two unbuffered channels.
#include "thrum_bench.hpp"

static void round_trips(long n) {
  thrum::channel<long> there(0), back(0);
  auto ping = thrum::spawn([=]() mutable {
    for (long i = 0; i < n; ++i) {
      there.send(i);
      if (back.receive() != i) bench::fail("ping-pong got the wrong value back.", 1);
    }
  });
  auto pong = thrum::spawn([=]() mutable {
    for (long i = 0; i < n; ++i) back.send(*there.receive());
  });
  ping.join();
  pong.join();
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv,
                           [](const bench::options& o) { bench::measure("", o.scaled(1000000), round_trips); });
}
