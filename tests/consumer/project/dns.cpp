// A program outside the tree that uses thrum::dns: it asks a name server that is not there, and is told so.
#include <cstdio>
#include <system_error>
#include <thrum/net/resolver.hpp>
#include <thrum/thrum.hpp>

int main() {
  return thrum::run([] {
    const auto nobody = thrum::net::udp_socket::bind("127.0.0.1:0").local_address();
    const thrum::net::resolver names({.servers = {thrum::net::endpoint(nobody)}});
    std::error_code error;
    names.resolve("www.example.org.", 80, {}, error);
    std::printf("%s: %s\n", error.category().name(), error.message().c_str());
    return 0;
  });
}
