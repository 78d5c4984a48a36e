// What the tests of hostile networks share: a server beside whose victims a witness goes on, and answers in lines.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <thrum/net/buffered_reader.hpp>
#include <thrum/net/server.hpp>

#include "tcp_support.hpp"

namespace thrum::test {

inline void echo_all(tcp_stream& c) {
  std::array<std::byte, 4096> buffer;
  while (const auto n = c.read_some(buffer)) c.write_all(std::span(buffer).first(n));
}

// A connection that asks a server again and again, as long as it lives. The server echoes the bytes it is sent, lines
// among them. From a fiber.
class witness {
 public:
  explicit witness(const std::string& address) : connection_(tcp_stream::connect(address)) {
    asking_ = spawn([this] { ask(); });
  }
  ~witness() {
    over_ = true;
    asking_.join();
  }
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;

  // Whether it gets on from here.
  bool progresses() const {
    const auto before = rounds_.load();
    return eventually([&] { return rounds_ > before + 2; });
  }

 private:
  void ask() {
    for (; !over_; this_fiber::sleep_for(200us)) {
      const std::string asked = "round " + std::to_string(rounds_) + "\n";
      connection_.write_all(bytes(asked));
      ASSERT_EQ(read_whole(connection_, asked.size()), asked);
      ++rounds_;
    }
  }

  tcp_stream connection_;
  std::atomic<bool> over_{false};
  std::atomic<std::uint64_t> rounds_{0};
  fiber asking_;
};

// Serves with the handler while f(server) runs, with a witness beside it, which must get on afterwards too. Returns how
// the other connections have ended.
template <class Handler, class F>
net::server_report with_witness(Handler handler, F f, net::server_options options = {}) {
  net::server server(tcp_listener::bind("127.0.0.1:0"), std::move(handler), std::move(options));
  auto serving = spawn([&] { server.serve(); });
  {
    const witness beside(here(server.listener()));
    f(server, beside);
    EXPECT_TRUE(beside.progresses());
  }
  auto report = server.shutdown(hang_guard);
  serving.join();
  EXPECT_EQ(report.cancelled, 0u);
  return report;
}

inline std::uint64_t ended(const net::server_report& r) { return r.served + r.drained + r.cancelled + r.failed; }

}  // namespace thrum::test
