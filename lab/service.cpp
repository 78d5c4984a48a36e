// The messages of c10k and the sockets of its servers.

#include "lab/service.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "lab/child.hpp"
#include "lab/failure.hpp"
#include "lab/limits.hpp"

namespace thrum::lab {
namespace {

// SplitMix64's finaliser: neighbouring inputs give unrelated bytes.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr std::byte answer_mark{0x5a};

sockaddr_in local_address(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

int port_of(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

void write_request(message out, std::uint32_t connection, std::uint32_t sequence) {
  std::uint64_t key = (static_cast<std::uint64_t>(connection) << 32) | sequence;
  for (std::size_t at = 0; at < message_bytes; at += 8) {
    std::uint64_t word = at == 0 ? key : mix(key + at * 0x9e3779b97f4a7c15ull);
    std::memcpy(out.data() + at, &word, 8);
  }
}

void answer_in_place(message request) {
  for (std::byte& b : request) b ^= answer_mark;
}

bool is_answer(std::span<const std::byte, message_bytes> got, std::uint32_t connection, std::uint32_t sequence) {
  std::array<std::byte, message_bytes> expected;
  write_request(expected, connection, sequence);
  answer_in_place(expected);
  return std::memcmp(got.data(), expected.data(), message_bytes) == 0;
}

service::service(const nlohmann::json& order)
    : port(order.at("port")),
      wait(order.at("wait_ms").get<int>()),
      connections(order.at("connections")),
      pool_threads(order.at("pool_threads")) {
  if (auto limit = allow_descriptors(connections + 64))
    throw failure(
        fmt::format("{} connections need {} open files in the server, but {}", connections, connections + 64, *limit));
}

int listen_and_announce(const service& s, bool blocking) {
  int type = SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK);
  int listener = socket(AF_INET, type, 0);
  if (listener < 0) throw failure(explain_descriptors(errno));
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = local_address(s.port);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, listen_backlog) != 0)
    throw failure(explain_port(s.port, errno));
  announce(port_of(listener));
  return listener;
}

void announce(int port) { say({{"listening", port}}); }

std::string explain_port(int port, int error) {
  if (error == EADDRINUSE) return fmt::format("port {} on 127.0.0.1 is already in use by another program", port);
  return fmt::format("cannot listen on port {} of 127.0.0.1: {}", port, std::generic_category().message(error));
}

void report_limit(const std::string& limit) {
  static bool told = false;
  if (!std::exchange(told, true)) say({{"limit", limit}});
}

void rest_after_failed_accept(int error) {
  if (error == EINTR || error == ECONNABORTED) return;
  report_limit(explain_descriptors(error));
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

bool receive_request(int connection, std::span<std::byte> into) {
  for (std::size_t have = 0; have < message_bytes;) {
    ssize_t n = recv(connection, into.data() + have, into.size() - have, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    have += static_cast<std::size_t>(n);
  }
  return true;
}

bool send_answer(int connection, std::span<const std::byte> answer) {
  while (!answer.empty()) {
    ssize_t n = send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    answer = answer.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace thrum::lab
