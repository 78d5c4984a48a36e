// What tests of connections share: two ends of one, and what to send through it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include "support.hpp"

namespace thrum::test {

using net::tcp_listener, net::tcp_stream;

inline std::string read_text(tcp_stream& s, std::size_t at_most = 4096) {
  std::string text(at_most, '\0');
  text.resize(s.read_some(std::as_writable_bytes(std::span(text))));
  return text;
}

// So many bytes, in however many pieces they come, or what precedes the end.
inline std::string read_whole(tcp_stream& s, std::size_t size) {
  std::string text;
  for (std::string more; text.size() < size; text += more)
    if (more = read_text(s, size - text.size()); more.empty()) break;
  return text;
}

inline std::string here(const tcp_listener& l) { return "127.0.0.1:" + std::to_string(l.local_port()); }

struct connection {
  tcp_stream client, server;
};

// Two ends of one connection; works on fibers and threads alike, because the kernel completes connections by itself.
inline connection connect_pair(std::string_view interface = "127.0.0.1") {
  auto l = tcp_listener::bind(std::string(interface) + ":0");
  auto client = tcp_stream::connect(std::string(interface) + ":" + std::to_string(l.local_port()));
  return {std::move(client), l.accept()};
}

// Fills the connection until a write would wait; returns how much went in.
inline std::size_t fill(tcp_stream& s) {
  const std::vector<std::byte> block(65536);
  std::size_t total = 0;
  s.set_timeout(20ms);
  for (std::error_code error; !error;) total += s.write_some(block, error);
  s.set_timeout({});
  return total;
}

}  // namespace thrum::test
