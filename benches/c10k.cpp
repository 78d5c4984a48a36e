// c10k: the server that load_client drives with 10,000 connections; each request waits for its "database"
// before the answer. One fiber for each connection. With --borrow, a connection holds a buffer only from
// the moment its data are there until the answer has left.
#include <algorithm>
#include <array>

#include "thrum_server.hpp"

static void handle(thrum::net::tcp_stream stream, const bench::options& o) {
  bench::buffer own(o.buffer);
  while (auto n = bench::read_request(stream, own.all)) {
    thrum::this_fiber::sleep_for(std::chrono::milliseconds(o.delay_ms));
    stream.write_all(own.all.first(n));
  }
}

// A request is one message of 64 bytes: while its "database" works, that is all that is kept. A peer that
// sends anything else is not ours, and its connection ends.
static void handle_borrowing(thrum::net::tcp_stream stream, const bench::options& o) {
  std::array<std::byte, bench::message_bytes> request;
  for (;;) {
    stream.wait_readable();
    {
      bench::buffer borrowed(o.buffer);
      if (bench::read_request(stream, borrowed.all) != request.size()) return;
      std::copy_n(borrowed.all.begin(), request.size(), request.begin());
    }
    thrum::this_fiber::sleep_for(std::chrono::milliseconds(o.delay_ms));
    stream.write_all(request);
  }
}

int main(int argc, char** argv) {
  return bench::run_server(argc, argv,
                           [](const bench::options& o) { bench::serve_each(o, o.borrow ? handle_borrowing : handle); });
}
