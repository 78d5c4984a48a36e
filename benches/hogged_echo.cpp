// hogged_echo: the echo server that load_client drives on all cores, beside --hogs fibers for each worker that are
// greedy without end. Those of kind spin never come back. Those of kind syscall block for 50 ms again and again, and
// give way in between, so that each call takes a processor along that the others want.
#include "peers/hog.hpp"
#include "thrum_server.hpp"

static void echo(thrum::net::tcp_stream stream, const bench::options& o) {
  bench::buffer own(o.buffer);
  while (auto n = stream.read_some(own.all)) stream.write_all(own.all.first(n));
}

static void hog_for_ever(const std::string& kind) {
  for (;;) {
    hog::once(kind, [] {});
    if (kind != "spin") thrum::this_fiber::yield();
  }
}

int main(int argc, char** argv) {
  return bench::run_server(argc, argv, [](const bench::options& o) {
    for (unsigned i = 0; i < o.hogs * o.workers; ++i) thrum::go([&o] { hog_for_ever(o.kind); });
    bench::serve_each(o, echo);
  });
}
