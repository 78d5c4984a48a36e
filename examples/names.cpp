// A client that finds its server by name. A hosts file gives the name two addresses, of which one has a server.
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <thrum/net/resolver.hpp>
#include <thrum/thrum.hpp>

#include <unistd.h>

using namespace std::chrono_literals;
using namespace thrum::net;

namespace {

// As /etc/hosts would say, so that no name server is needed. It is read when the resolver is made.
resolver names_from(const char* lines) {
  const std::string path = "names_example." + std::to_string(::getpid());
  std::ofstream(path) << lines;
  resolver names({.configuration_file = "", .hosts_file = path});
  std::remove(path.c_str());
  return names;
}

void serve_one(tcp_listener& listener) {
  auto client = listener.accept();
  client.write_all(std::as_bytes(std::span("welcome", 7)));
}

std::string greeting_of(tcp_stream& server) {
  std::array<std::byte, 7> buffer;
  server.read_exactly(buffer);
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

}  // namespace

int main() {
  return thrum::run([] {
    const auto names = names_from("127.0.0.2 shop.test\n127.0.0.1 shop.test\n");
    for (const auto& e : names.resolve("shop.test", 80)) std::printf("%s\n", e.to_string().c_str());

    auto listener = tcp_listener::bind("127.0.0.1:0");
    thrum::fiber server = thrum::spawn([&] { serve_one(listener); });
    auto stream = connect(names, "shop.test", listener.local_port(), {.timeout = 10s});  // The first one refuses.
    std::printf("%s\n", greeting_of(stream).c_str());
    server.join();

    try {
      connect(names, "no name..", 80);
    } catch (const std::system_error& e) {
      std::printf("%s\n", e.what());
    }
    return 0;
  });
}
