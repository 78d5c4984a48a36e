// What sim.hpp and sim_network.hpp promise of UDP: datagrams that are lost, doubled and overtaken, on several hosts.
// That they are those of the kernel in all else, the tests of net prove, which run in simulations too.
#include <thrum/net/endpoint.hpp>
#include <thrum/net/udp_socket.hpp>
#include <thrum/sim_network.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/sim.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::endpoint;
using net::udp_socket;

constexpr std::string_view here = "10.0.0.1", there = "10.0.0.2";
constexpr const char* at_there = "10.0.0.2:53";

udp_socket bound(std::string_view host, const std::string& address, const net::udp_options& o = {}) {
  return sim::on_host(host, [&] { return udp_socket::bind(address, o); });
}
udp_socket connected(std::string_view host, const std::string& address) {
  return sim::on_host(host, [&] { return udp_socket::connect(address); });
}

template <class Number>
auto bytes_of(Number& n) noexcept {
  return std::as_writable_bytes(std::span(&n, 1));
}

void send_numbers(udp_socket& s, int count) {
  for (int i = 0; i < count; ++i) s.send(bytes_of(i));
}

// What arrives until nothing has come for a while.
std::vector<int> numbers_from(udp_socket& s) {
  std::vector<int> all;
  s.set_timeout(1s);
  for (std::error_code error;;) {
    int n = 0;
    s.receive(bytes_of(n), error);
    if (error) return all;
    all.push_back(n);
  }
}

std::vector<int> first_numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) all[static_cast<std::size_t>(i)] = i;
  return all;
}

// What arrives there of so many numbers, in ten schedules.
template <class Look>
void in_ten_schedules(sim::options o, int count, Look look) {
  for (o.seed = 1; o.seed <= 10; ++o.seed)
    sim::run(o, [&] {
      auto in = bound(there, at_there);
      auto out = connected(here, at_there);
      send_numbers(out, count);
      look(numbers_from(in));
    });
}

TEST(sim_udp, datagrams_overtake_each_other_but_none_is_lost_or_doubled_unasked) {
  int overtaken = 0;
  in_ten_schedules({}, 100, [&](std::vector<int> got) {
    if (!std::is_sorted(got.begin(), got.end())) ++overtaken;
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, first_numbers(100));
  });
  EXPECT_EQ(overtaken, 10);
}

TEST(sim_udp, within_a_host_they_keep_their_order) {
  for (sim::options o; o.seed <= 10; ++o.seed)
    for (o.one_in_duplicated = 0; o.one_in_duplicated < 6; o.one_in_duplicated += 3)
      sim::run(o, [&] {
        auto in = bound(there, "127.0.0.1:53");
        auto out = connected(there, "127.0.0.1:53");
        send_numbers(out, 100);
        auto got = numbers_from(in);
        EXPECT_EQ(got.size() > 100, o.one_in_duplicated > 0);
        got.erase(std::unique(got.begin(), got.end()), got.end());
        EXPECT_EQ(got, first_numbers(100));
      });
}

TEST(sim_udp, some_are_lost_on_request) {
  in_ten_schedules({.one_in_lost = 4}, 200, [](const std::vector<int>& got) {
    EXPECT_EQ(std::set<int>(got.begin(), got.end()).size(), got.size());
    EXPECT_GT(got.size(), 100u);
    EXPECT_LT(got.size(), 190u);
  });
}

TEST(sim_udp, some_come_twice_on_request) {
  in_ten_schedules({.one_in_duplicated = 4}, 200, [](const std::vector<int>& got) {
    std::map<int, int> times;
    for (const int n : got) ++times[n];
    EXPECT_EQ(times.size(), 200u);
    EXPECT_GT(got.size(), 210u);
    for (const auto& [n, count] : times) EXPECT_LE(count, 2) << n;
  });
}

TEST(sim_udp, the_seed_decides_which) {
  std::vector<int> before;
  for (int i = 0; i < 2; ++i)
    sim::run({.seed = 7, .one_in_lost = 3, .one_in_duplicated = 3}, [&] {
      auto in = bound(there, at_there);
      auto out = connected(here, at_there);
      send_numbers(out, 100);
      const auto got = numbers_from(in);
      if (i == 1) EXPECT_EQ(got, before);
      before = got;
    });
}

TEST(sim_udp, what_a_cut_link_swallows_is_gone) {
  sim::run({}, [] {
    auto in = bound(there, at_there);
    auto out = connected(here, at_there);
    sim::set_link(here, there, {.cut = true});
    send_numbers(out, 10);
    EXPECT_TRUE(numbers_from(in).empty());
    in.send_to(bytes("back"), endpoint(out.local_address()));  // The way back is another.
    std::array<std::byte, 8> buffer;
    EXPECT_EQ(out.receive(buffer).size, 4u);
    sim::set_link(here, there, {});
    EXPECT_TRUE(numbers_from(in).empty());
    send_numbers(out, 3);
    EXPECT_EQ(numbers_from(in).size(), 3u);
  });
}

TEST(sim_udp, links_delay_them_too) {
  sim::run({}, [] {
    auto in = bound(there, at_there);
    auto out = connected(here, at_there);
    sim::set_link(here, there, {.latency = 5s});
    const auto start = clock::now();
    send_numbers(out, 1);
    int n = 0;
    in.receive(bytes_of(n));
    EXPECT_GE(clock::now() - start, 5s);
  });
}

TEST(sim_udp, nobody_there_is_told_unless_the_way_back_is_cut) {
  sim::run({}, [] {
    auto out = connected(here, at_there);
    const auto answer = [&] {
      std::error_code error;
      out.set_timeout(1s);
      out.receive({}, error);
      return error;
    };
    send_numbers(out, 1);
    EXPECT_EQ(answer(), std::errc::connection_refused);
    send_numbers(out, 1);
    this_fiber::sleep_for(1s);
    EXPECT_EQ(code_of([&] { send_numbers(out, 1); }), std::errc::connection_refused);
    EXPECT_EQ(answer(), std::errc::timed_out);  // Sending it failed.
    sim::set_link(there, here, {.cut = true});
    send_numbers(out, 1);
    EXPECT_EQ(answer(), std::errc::timed_out);
    auto any = bound(here, ":0");
    any.send_to(bytes("x"), endpoint("10.0.0.1:9"));  // Without a peer nobody is told.
    any.set_timeout(1s);
    EXPECT_EQ(code_of([&] { any.receive({}); }), std::errc::timed_out);
  });
}

TEST(sim_udp, hosts_have_their_own_addresses) {
  sim::run({}, [] {
    auto one = bound(here, "127.0.0.1:53"), two = bound(there, ":53");
    auto out = connected(there, "127.0.0.1:53");
    out.send(bytes("own"));
    std::array<std::byte, 8> buffer;
    endpoint from;
    EXPECT_EQ(two.receive_from(buffer, from).size, 3u);
    two.send_to(bytes("back"), from);
    EXPECT_EQ(out.receive(buffer).size, 4u);
    const auto refused = [](std::string_view host, const std::string& address) {
      return code_of([&] { bound(host, address); });
    };
    EXPECT_EQ(refused(here, "10.0.0.2:9"), std::errc::address_not_available);
    EXPECT_EQ(refused(there, "127.0.0.1:53"), std::errc::address_in_use);
    EXPECT_EQ(code_of([] { connected(here, "[fd00::2]:9"); }), std::errc::network_unreachable);
    EXPECT_EQ(code_of([&] { one.send_to(bytes("x"), endpoint(at_there)); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&] { one.send_to(bytes("x"), endpoint("[fd00::2]:9")); }),
              std::errc::address_family_not_supported);
    auto far = connected(here, at_there);
    EXPECT_TRUE(far.local_address().starts_with("10.0.0.1:")) << far.local_address();
    far.send(bytes("x"));
    two.receive_from(buffer, from);
    EXPECT_EQ(from.to_string(), far.local_address());
  });
}

// ---------------------------------------------------------------------------------------------------------------
// A protocol of the kind that UDP asks for: each number is sent again until it is confirmed.

void send_until_confirmed(udp_socket& s, int count) {
  s.set_timeout(2ms);
  for (int i = 0; i < count; ++i)
    for (int confirmed = -1; confirmed != i;) {
      s.send(bytes_of(i));
      std::error_code error;
      s.receive(bytes_of(confirmed), error);
      if (error) confirmed = -1;
    }
}

struct ledger {
  bool takes_each_once;
  int next = 0;
  int booked = 0;

  void take(udp_socket& s) {
    endpoint from;
    int n = 0;
    s.receive_from(bytes_of(n), from);
    if (!takes_each_once || n == next) ++booked;
    next = std::max(next, n + 1);
    s.send_to(bytes_of(n), from);
  }
};

void book_ten(bool takes_each_once) {
  ledger l{takes_each_once};
  auto in = bound(there, at_there);
  auto out = connected(here, at_there);
  scope server;
  server.go([&] {
    for (;;) l.take(in);
  });
  send_until_confirmed(out, 10);
  server.cancel();
  server.join();
  EXPECT_EQ(l.booked, 10);
}

sim::verdict book_over(sim::options network, bool takes_each_once) {
  return sim::check(
      [=] { book_ten(takes_each_once); },
      {.schedules = 100, .each = network, .failed = [] { return ::testing::Test::HasFailure(); }, .shrink = false});
}

TEST(sim_udp, a_protocol_that_sends_again_must_know_what_it_has_seen) {
  const sim::options sound, loses{.one_in_lost = 5}, doubles{.one_in_duplicated = 5};
  EXPECT_TRUE(book_over(sound, false).passed);
  EXPECT_FALSE(book_over(loses, false).passed);
  EXPECT_FALSE(book_over(doubles, false).passed);
  const auto v = book_over({.one_in_lost = 5, .one_in_duplicated = 5}, true);
  EXPECT_TRUE(v.passed) << v.report;
}

}  // namespace
}  // namespace thrum
