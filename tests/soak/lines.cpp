// Servers of lines, over TCP and Unix sockets, and peers of every kind: who sends in crumbs, resets, falls silent, or
// never ends his line. What is answered is what was asked, and a connection that has ended has ended on both sides.
#include "lines.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <unistd.h>

#include <thrum/net/buffered_reader.hpp>
#include <thrum/net/server.hpp>
#include <thrum/thrum.hpp>

namespace thrum::soak {
namespace {

using namespace std::chrono_literals;
using generator = std::mt19937_64;

constexpr std::size_t longest_line = 4096;

std::chrono::microseconds up_to(std::chrono::microseconds most, generator& r) {
  return std::chrono::microseconds(r() % static_cast<std::uint64_t>(most.count() + 1));
}

struct present {
  std::atomic<int>& how_many;
  explicit present(std::atomic<int>& n) : how_many(n) { ++how_many; }
  ~present() { --how_many; }
};

class lines final : public trade {
 public:
  lines(std::uint64_t seed, surroundings where) : trade(seed), where_(where) {}
  const char* name() const noexcept override { return "lines"; }

  void work() override {
    if (where_ == surroundings::simulated || draw() % 2 == 0) {
      auto listener = net::tcp_listener::bind("127.0.0.1:0");
      const auto address = "127.0.0.1:" + std::to_string(listener.local_port());
      serve<net::tcp_stream>(std::move(listener), address);
    } else {
      const auto name = "@thrum-soak-" + std::to_string(::getpid()) + "-" + std::to_string(draw());
      serve<net::unix_stream>(net::unix_listener::bind(name), name);
    }
  }

  void check() override {
    require(present_ == 0, "lines: a connection outlives its server");
    require(!wrong_, "lines: an answer is not what was asked");
  }

 private:
  template <class Stream, class Listener>
  void serve(Listener listener, const std::string& address) {
    net::server server(std::move(listener), [this](Stream c) { answer(c); }, {.max_connections = 12});
    scope s;
    s.go([&] { server.serve(); });
    for (int i = 0; i < 16; ++i)
      s.go([&, r = generator(draw())]() mutable {
        for (;; this_fiber::sleep_for(up_to(2ms, r))) ask<Stream>(address, r);
      });
    s.join();
  }

  template <class Stream>
  void answer(Stream& c) {
    const present here(present_);
    c.set_timeout(20ms);
    net::buffered_reader in(c, {.buffer_size = 64, .limit = longest_line});
    for (std::error_code error;;) {
      const auto line = in.read_until("\n", error);
      if (error || !line) return;
      c.write_all(std::as_bytes(std::span(*line)), error);
      if (error) return;
    }
  }

  template <class Stream>
  void ask(const std::string& address, generator& r) {
    std::error_code error;
    auto c = Stream::connect(address, 1s, error);
    if (error) return;
    c.set_timeout(1s);
    net::buffered_reader in(c, {.limit = longest_line});
    for (auto left = r() % 20; left > 0 && !error; --left) {
      std::string line(r() % (r() % 50 == 0 ? 2 * longest_line : 100), static_cast<char>('a' + left));
      send_in_crumbs(c, line + "\n", r, error);
      if (error) return;
      switch (r() % 40) {
        case 0:
          return;  // Leaves before the answer,
        case 1:
          return reset(c);
        case 2:
          return this_fiber::sleep_for(up_to(40ms, r));  // or says nothing any more.
        default:
          break;
      }
      const auto answered = in.read_until("\n", error);
      if (error || !answered) return;
      if (answered->substr(0, answered->size() - 1) != line) wrong_ = true;
      count();
    }
  }

  template <class Stream>
  static void send_in_crumbs(Stream& c, std::string_view text, generator& r, std::error_code& error) {
    while (!text.empty() && !error) {
      const auto n = std::min<std::size_t>(text.size(), 1 + r() % 200);
      c.write_all(std::as_bytes(std::span(text)).first(n), error);
      text.remove_prefix(n);
    }
  }

  template <class Stream>
  static void reset(Stream& c) {
    std::error_code not_of_this_kind;
    c.set_option(net::reset_on_close(true), not_of_this_kind);
  }

  const surroundings where_;
  std::atomic<int> present_{0};
  std::atomic<bool> wrong_{false};
};

}  // namespace

std::unique_ptr<trade> make_lines(std::uint64_t seed, surroundings where) {
  return std::make_unique<lines>(seed, where);
}

}  // namespace thrum::soak
