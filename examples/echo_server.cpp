// An echo server in blocking style: one fiber per connection, event-driven underneath.
// Usage: echo_server 127.0.0.1:7777   serves until it is killed
//        echo_server                  serves a hundred clients of its own, checks their bytes, and ends in good order
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <span>
#include <string>
#include <thrum/thrum.hpp>

namespace {

using namespace std::chrono_literals;
using thrum::net::tcp_listener;
using thrum::net::tcp_stream;

void echo(tcp_stream connection) {
  std::array<std::byte, 4096> buffer;
  while (auto n = connection.read_some(buffer)) connection.write_all(std::span(buffer).first(n));
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
  thrum::net::server server(tcp_listener::bind("127.0.0.1:0"), echo);
  const std::string address = "127.0.0.1:" + std::to_string(server.listener().local_port());
  auto serving = thrum::spawn([&] { server.serve(); });
  std::atomic<int> good = 0;
  thrum::scope clients;
  for (int i = 0; i < 100; ++i) clients.go([&, i] { good += client(address, i); });
  clients.join();
  const auto report = server.shutdown(10s);  // Accepts nobody any more; waits for the connections to end.
  serving.join();
  if (good != 1000 || report.served + report.drained != 100) return 1;
  std::printf("100 clients, 1000 messages, every byte came back\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return thrum::run([=] {
    if (argc < 2) return serve_own_clients();
    thrum::net::server server(tcp_listener::bind(argv[1]), echo, {.max_connections = 10'000});
    server.serve();
    return 0;
  });
}
