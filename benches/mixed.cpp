// mixed: the server that load_client drives on all cores, where some requests compute for 1 ms before they are
// answered. One fiber for each connection; nothing is done about those that compute.
#include "peers/compute.h"
#include "thrum_server.hpp"

static void handle(thrum::net::tcp_stream stream, const bench::options& o) {
  bench::buffer own(o.buffer);
  while (auto n = bench::read_request(stream, own.all)) {
    if (own.all[0] == std::byte{THRUM_BENCH_COMPUTE}) thrum_bench_compute_1ms();
    stream.write_all(own.all.first(n));
  }
}

int main(int argc, char** argv) {
  return bench::run_server(argc, argv, [](const bench::options& o) { bench::serve_each(o, handle); });
}
