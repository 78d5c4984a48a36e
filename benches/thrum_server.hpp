// What thrum's servers share: the accept loop, which starts one fiber for each connection.
#pragma once
#include <system_error>

#include "buffer.hpp"
#include "server.hpp"
#include "thrum_bench.hpp"

namespace bench {

// Runs handle(stream, options) for each connection. A client that leaves in the middle ends its fiber, not the server.
template <class Handle>
void serve_each(const options& o, Handle handle) {
  auto listener = thrum::net::tcp_listener::bind("127.0.0.1:" + std::to_string(o.port), {.backlog = backlog});
  announce(listener.local_port());
  for (;;)
    thrum::go([&o, handle, stream = listener.accept()]() mutable {
      try {
        handle(std::move(stream), o);
      } catch (const std::system_error&) {
      }
    });
}

// Reads one whole request into `to`; 0 when the peer has ended.
inline std::size_t read_request(thrum::net::tcp_stream& stream, std::span<std::byte> to) {
  std::size_t held = 0;
  while (held < message_bytes) {
    const auto n = stream.read_some(to.subspan(held));
    if (n == 0) return 0;
    held += n;
  }
  return held;
}

template <class Serve>
int run_server(int argc, char** argv, Serve serve) {
  prepare_server();
  return in_runtime(argc, argv, serve);
}

}  // namespace bench
