// echo, also churn: the server that load_client drives; one fiber for each connection, with a buffer of its own. With
// --borrow, a connection holds a buffer only from the moment its data are there until the answer has left.
#include "thrum_server.hpp"

static void echo(thrum::net::tcp_stream stream, const bench::options& o) {
  bench::buffer own(o.buffer);
  while (auto n = stream.read_some(own.all)) stream.write_all(own.all.first(n));
}

static void echo_borrowing(thrum::net::tcp_stream stream, const bench::options& o) {
  for (;;) {
    stream.wait_readable();
    bench::buffer borrowed(o.buffer);
    const auto n = stream.read_some(borrowed.all);
    if (n == 0) return;
    stream.write_all(borrowed.all.first(n));
  }
}

int main(int argc, char** argv) {
  return bench::run_server(argc, argv,
                           [](const bench::options& o) { bench::serve_each(o, o.borrow ? echo_borrowing : echo); });
}
