// An echo server in blocking style: one fiber per connection, event-driven underneath.
// Usage: echo_server 127.0.0.1:7777   serves until it is killed
//        echo_server                  serves a hundred clients of its own, checks their bytes, and ends
#include <array>
#include <atomic>
#include <cstdio>
#include <span>
#include <string>
#include <thrum/thrum.hpp>

namespace {

using thrum::net::tcp_listener;
using thrum::net::tcp_stream;

void echo(tcp_stream connection) {
  std::array<std::byte, 4096> buffer;
  while (auto n = connection.read_some(buffer)) connection.write_all(std::span(buffer).first(n));
}

// Accepts for ever; a cancelled scope ends it at accept().
void serve(tcp_listener& listener) {
  for (;;) {
    thrum::go([connection = listener.accept()]() mutable { echo(std::move(connection)); });
  }
}

// Sends ten messages, each after the answer to the one before; returns how many came back unchanged.
int client(const std::string& address, int number) {
  auto stream = tcp_stream::connect(address);
  int good = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string message = "message " + std::to_string(i) + " of client " + std::to_string(number);
    std::string answer(message.size(), '\0');
    stream.write_all(std::as_bytes(std::span(message)));
    stream.read_exactly(std::as_writable_bytes(std::span(answer)));
    good += answer == message;
  }
  return good;
}

int serve_own_clients() {
  auto listener = tcp_listener::bind("127.0.0.1:0");
  const std::string address = "127.0.0.1:" + std::to_string(listener.local_port());
  std::atomic<int> good = 0;
  thrum::scope server;
  server.go([&] { serve(listener); });
  {
    thrum::scope clients;
    for (int i = 0; i < 100; ++i) clients.go([&, i] { good += client(address, i); });
    clients.join();
  }
  server.cancel();
  server.join();
  if (good != 1000) return 1;
  std::printf("100 clients, 1000 messages, every byte came back\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return thrum::run([=] {
    if (argc < 2) return serve_own_clients();
    auto listener = tcp_listener::bind(argv[1]);
    serve(listener);
    return 0;
  });
}
