// tls: the server that load_client drives through TLS; one fiber for each connection.
#include <thrum/net/tls_stream.hpp>

#include "thrum_server.hpp"

int main(int argc, char** argv) {
  return bench::run_server(argc, argv, [](const bench::options& o) {
    const auto context = thrum::net::tls_context::server({.certificate = {o.certificate, o.key}});
    bench::serve_each(o, [context](thrum::net::tcp_stream transport, const bench::options& how) {
      auto stream = thrum::net::tls_stream::accept(context, std::move(transport));
      bench::buffer own(how.buffer);
      while (auto n = stream.read_some(own.all)) stream.write_all(own.all.first(n));
    });
  });
}
