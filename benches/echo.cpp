// echo: the server that load_client drives; one fiber for each connection, with a 1 KiB buffer on its stack.
#include <array>

#include "server.hpp"
#include "thrum_bench.hpp"

static void handle(thrum::net::tcp_stream stream) {
  std::array<std::byte, bench::buffer_bytes> buffer;
  std::error_code gone;  // A client that leaves in the middle ends this fiber, not the server.
  while (auto n = stream.read_some(buffer, gone)) {
    stream.write_all(std::span(buffer).first(n), gone);
    if (gone) return;
  }
}

static void serve(const bench::options& o) {
  auto listener = thrum::net::tcp_listener::bind("127.0.0.1:" + std::to_string(o.port), {.backlog = bench::backlog});
  bench::announce(listener.local_port());
  for (;;) {
    auto stream = listener.accept();
    bench::no_delay(stream.native_handle());
    thrum::go([stream = std::move(stream)]() mutable { handle(std::move(stream)); });
  }
}

int main(int argc, char** argv) {
  bench::raise_file_limit();
  bench::report_on_sigterm();
  return bench::in_runtime(argc, argv, serve);
}
