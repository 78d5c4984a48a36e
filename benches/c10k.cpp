// c10k: the server that load_client drives with 10,000 connections; each request waits for its "database"
// before the answer. One fiber for each connection. With --borrow, a connection holds a buffer only from
// the moment its data are there until the answer has left.
#include <algorithm>
#include <array>
#include <memory>
#include <system_error>

#include "server.hpp"
#include "thrum_bench.hpp"

using buffer = std::array<std::byte, bench::buffer_bytes>;

// Reads one whole request into `to`; 0 when the peer has ended.
static std::size_t read_request(thrum::net::tcp_stream& stream, buffer& to) {
  std::size_t held = 0;
  while (held < bench::message_bytes) {
    auto n = stream.read_some(std::span(to).subspan(held));
    if (n == 0) return 0;
    held += n;
  }
  return held;
}

static void handle(thrum::net::tcp_stream stream, std::chrono::milliseconds delay) {
  buffer own;
  while (auto n = read_request(stream, own)) {
    thrum::this_fiber::sleep_for(delay);
    stream.write_all(std::span(own).first(n));
  }
}

// A request is one message of 64 bytes: while its "database" works, that is all that is kept. A peer that
// sends anything else is not ours, and its connection ends.
static void handle_borrowing(thrum::net::tcp_stream stream, std::chrono::milliseconds delay) {
  std::array<std::byte, bench::message_bytes> request;
  for (;;) {
    stream.wait_readable();
    {
      auto borrowed = std::make_unique_for_overwrite<buffer>();
      if (read_request(stream, *borrowed) != request.size()) return;
      std::copy_n(borrowed->begin(), request.size(), request.begin());
    }
    thrum::this_fiber::sleep_for(delay);
    stream.write_all(request);
  }
}

static void serve(const bench::options& o) {
  auto listener = thrum::net::tcp_listener::bind("127.0.0.1:" + std::to_string(o.port), {.backlog = bench::backlog});
  bench::announce(listener.local_port());
  auto handler = o.borrow ? handle_borrowing : handle;
  for (;;) {
    auto stream = listener.accept();
    bench::no_delay(stream.native_handle());
    thrum::go([stream = std::move(stream), handler, delay = std::chrono::milliseconds(o.delay_ms)]() mutable {
      try {
        handler(std::move(stream), delay);
      } catch (const std::system_error&) {  // A client that leaves in the middle ends this fiber, not the server.
      }
    });
  }
}

int main(int argc, char** argv) {
  bench::raise_file_limit();
  bench::report_on_sigterm();
  return bench::in_runtime(argc, argv, serve);
}
