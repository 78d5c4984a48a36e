// A program outside the tree that uses thrum::tls: it greets a server that does not speak TLS, and is told so.
#include <cstdio>
#include <system_error>
#include <thrum/net/tls_stream.hpp>
#include <thrum/thrum.hpp>

int main() {
  return thrum::run([] {
    auto listener = thrum::net::tcp_listener::bind("127.0.0.1:0");
    auto transport = thrum::net::tcp_stream::connect("127.0.0.1:" + std::to_string(listener.local_port()));
    auto stranger = listener.accept();
    stranger.write_all(std::as_bytes(std::span("220 no TLS here\r\n", 17)));
    std::error_code error;
    thrum::net::tls_stream::connect(thrum::net::tls_context::client(), std::move(transport), "localhost", {}, error);
    std::printf("%s: %s\n", error.category().name(), error.message().c_str());
    return 0;
  });
}
