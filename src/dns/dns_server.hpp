// A name server for tests: fibers that answer from a script, or late, or wrongly, or not at all.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>

#include <gtest/gtest.h>

#include <thrum/fiber.hpp>
#include <thrum/net/endpoint.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/udp_socket.hpp>
#include <thrum/scope.hpp>

namespace thrum::net::dns_test {

using octets = std::vector<std::byte>;

enum record_kind : unsigned { a = 1, ptr = 12, mx = 15, txt = 16, aaaa = 28, srv = 33 };
enum response_code : unsigned { fine = 0, server_failure = 2, name_error = 3, not_implemented = 4, refused = 5 };

inline void put(octets& out, unsigned value, int size) {
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
}
inline void put(octets& out, std::string_view text) {
  for (char c : text) out.push_back(static_cast<std::byte>(c));
}
inline void put_string(octets& out, std::string_view text) {
  put(out, static_cast<unsigned>(text.size()), 1);
  put(out, text);
}
inline void put_name(octets& out, std::string_view text) {
  while (!text.empty()) {
    const auto label = text.substr(0, text.find('.'));
    put_string(out, label);
    text.remove_prefix(std::min(text.size(), label.size() + 1));
  }
  put(out, 0, 1);
}

struct record {
  record_kind kind;
  octets data;
};

inline record host_at(const char* text) {
  std::array<std::byte, 16> bits;
  if (::inet_pton(AF_INET, text, bits.data()) == 1) return {a, octets(bits.begin(), bits.begin() + 4)};
  EXPECT_EQ(::inet_pton(AF_INET6, text, bits.data()), 1) << text;
  return {aaaa, octets(bits.begin(), bits.end())};
}
inline record service(unsigned priority, unsigned weight, unsigned port, std::string_view target) {
  record r{srv, {}};
  for (const unsigned number : {priority, weight, port}) put(r.data, number, 2);
  put_name(r.data, target);
  return r;
}
inline record mail_host(unsigned preference, std::string_view host) {
  record r{mx, {}};
  put(r.data, preference, 2);
  put_name(r.data, host);
  return r;
}
inline record text(std::initializer_list<std::string_view> strings) {
  record r{txt, {}};
  for (const auto s : strings) put_string(r.data, s);
  return r;
}
inline record name_of_address(std::string_view host) {
  record r{ptr, {}};
  put_name(r.data, host);
  return r;
}

// What the server does with a query.
struct reply {
  response_code code = fine;
  std::vector<record> records{};
  std::chrono::nanoseconds delay{0};
  bool truncated = false;    // By UDP.
  bool lost = false;         // No answer.
  bool lies_before = false;  // Before the answer come ones with another identifier, another question, and noise.
};

struct query {
  unsigned identifier = 0;
  octets question;
  std::string name;
  unsigned kind = 0;

  explicit query(std::span<const std::byte> message) {
    EXPECT_GT(message.size(), 12u);
    identifier = number(message, 0);
    std::size_t at = 12;
    for (std::size_t length; (length = static_cast<std::size_t>(message[at])) != 0; at += length + 1) {
      if (!name.empty()) name += '.';
      name.append(reinterpret_cast<const char*>(&message[at + 1]), length);
    }
    kind = number(message, at + 1);
    question.assign(message.begin() + 12, message.begin() + static_cast<std::ptrdiff_t>(at) + 5);
  }
  static unsigned number(std::span<const std::byte> m, std::size_t at) {
    return static_cast<unsigned>(m[at]) << 8 | static_cast<unsigned>(m[at + 1]);
  }
};

inline octets message_for(const query& q, const reply& r, bool truncated, unsigned identifier) {
  octets m;
  put(m, identifier, 2);
  put(m, 0x8180u | (truncated ? 0x0200u : 0u) | r.code, 2);
  put(m, 1, 2);
  put(m, truncated ? 0 : static_cast<unsigned>(r.records.size()), 2);
  put(m, 0, 4);
  m.insert(m.end(), q.question.begin(), q.question.end());
  if (truncated) return m;
  for (const auto& one : r.records) {
    put(m, 0xc00c, 2);  // The name in the question.
    put(m, one.kind, 2);
    put(m, 1, 2);
    put(m, 60, 4);
    put(m, static_cast<unsigned>(one.data.size()), 2);
    m.insert(m.end(), one.data.begin(), one.data.end());
  }
  return m;
}

// On a port of 127.0.0.1, by UDP and TCP. Belongs to the fiber that makes it, as a scope does.
class name_server {
 public:
  using script = std::function<reply(const query& q, int nth)>;  // The nth query, from 1 on.

  explicit name_server(script answers) : answers_(std::move(answers)) {
    for (std::error_code error = std::make_error_code(std::errc::address_in_use); error;) {
      udp_ = udp_socket::bind("127.0.0.1:0");
      tcp_ = tcp_listener::bind(udp_.local_address(), {}, error);
    }
    scope_.go([this] { serve_datagrams(); });
    scope_.go([this] { serve_connections(); });
  }

  endpoint at() const { return endpoint(udp_.local_address()); }
  std::atomic<int> asked = 0, asked_by_tcp = 0;

 private:
  void serve_datagrams() {
    std::array<std::byte, 1500> buffer;
    for (endpoint from;;) {
      const auto got = udp_.receive_from(buffer, from);
      const query q(std::span<const std::byte>(buffer).first(got.size));
      scope_.go([this, q, from, nth = ++asked] { answer(q, from, answers_(q, nth)); });
    }
  }

  void answer(const query& q, const endpoint& to, const reply& r) {
    if (r.lost) return;
    if (r.delay.count() > 0) this_fiber::sleep_for(r.delay);
    std::error_code error;  // Who has asked may be gone.
    if (r.lies_before) {
      query other = q;
      other.question[1] ^= std::byte{1};
      const octets noise(40, std::byte{0xa5}), short_noise(3);
      for (const auto& lie :
           {message_for(q, r, false, q.identifier ^ 1), message_for(other, r, false, q.identifier), noise, short_noise})
        udp_.send_to(lie, to, error);
    }
    udp_.send_to(message_for(q, r, r.truncated, q.identifier), to, error);
  }

  void serve_connections() {
    for (;;) scope_.go([this, c = tcp_.accept()]() mutable { serve_connection(c); });
  }

  void serve_connection(tcp_stream& c) {
    std::error_code error;
    std::array<std::byte, 2> size;
    while (c.read_exactly(size, error) == size.size() && !error) {
      octets message(query::number(size, 0));
      c.read_exactly(message, error);
      if (error) return;
      ++asked_by_tcp;
      const query q(message);
      const auto whole = message_for(q, answers_(q, ++asked), false, q.identifier);
      octets out;
      put(out, static_cast<unsigned>(whole.size()), 2);
      out.insert(out.end(), whole.begin(), whole.end());
      c.write_all(out, error);
    }
  }

  const script answers_;
  udp_socket udp_;
  tcp_listener tcp_;
  scope scope_;  // Ends first, with all that it serves.
};

// Names and what they have; everything else there is not.
using zone = std::multimap<std::string, record>;
inline name_server::script from_zone(zone z) {
  return [z = std::move(z)](const query& q, int) {
    const auto [first, last] = z.equal_range(q.name);
    reply r{.code = first == last ? name_error : fine};
    for (auto i = first; i != last; ++i)
      if (i->second.kind == q.kind) r.records.push_back(i->second);
    return r;
  };
}
inline name_server::script always(reply r) {
  return [r = std::move(r)](const query&, int) { return r; };
}

}  // namespace thrum::net::dns_test
