// What sim_network.hpp promises: hosts, links that are cut or slow, and connections that break.
#include <thrum/sim_network.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <thrum/sim.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::tcp_listener;
using net::tcp_stream;

constexpr std::string_view here = "10.0.0.1", there = "10.0.0.2";

std::error_code connect_from(std::string_view host, const std::string& address, std::chrono::nanoseconds timeout = 0s) {
  std::error_code error;
  sim::on_host(host, [&] { tcp_stream::connect(address, timeout, error); });
  return error;
}

struct connection {
  tcp_stream near, far;  // The ends on `here` and `there`.
};
connection connected() {
  auto listener = sim::on_host(there, [] { return tcp_listener::bind("10.0.0.2:80"); });
  std::optional<tcp_stream> far;
  fiber f = spawn([&] { far = listener.accept(); });
  auto near = sim::on_host(here, [] { return tcp_stream::connect("10.0.0.2:80"); });
  f.join();
  return {std::move(near), std::move(*far)};
}

std::string read(tcp_stream& from, std::size_t n) {
  std::string text(n, ' ');
  from.read_exactly(std::as_writable_bytes(std::span(text)));
  return text;
}

bool hears_nothing_for(std::chrono::nanoseconds so_long, tcp_stream& s) {
  return select(s.on_readable([] {}), after(so_long, [] {})) == 1;
}

// How long f() took, in virtual time.
template <class F>
std::chrono::nanoseconds took(F f) {
  const auto start = clock::now();
  f();
  return clock::now() - start;
}

void in_ten_schedules(void (*program)()) {
  for (sim::options o; o.seed <= 10; ++o.seed) sim::run(o, program);
}

TEST(sim_network_hosts, each_has_its_own_addresses) {
  in_ten_schedules([] {
    auto one = sim::on_host(here, [] { return tcp_listener::bind(":80"); });
    auto two = sim::on_host(there, [] { return tcp_listener::bind(":80"); });
    sim::on_host(here, [] { tcp_stream::connect("127.0.0.1:80").write_all(bytes("own")); });
    sim::on_host(there, [] { tcp_stream::connect("10.0.0.1:80").write_all(bytes("her")); });
    auto first = one.accept(), second = one.accept();
    const auto said = read(first, 3), said_too = read(second, 3);
    EXPECT_NE(said, said_too);
    auto& from_there = said == "her" ? first : second;
    EXPECT_TRUE(from_there.remote_address().starts_with("10.0.0.2:")) << from_there.remote_address();
    EXPECT_EQ(connect_from(here, "127.0.0.1:81"), std::errc::connection_refused);
    EXPECT_EQ(connect_from(here, "10.0.0.9:80"), std::errc::connection_refused);
    EXPECT_EQ(connect_from(here, "[fd00::2]:80"), std::errc::network_unreachable);
    std::error_code error;
    sim::on_host(here, [&] { tcp_listener::bind("10.0.0.2:81", {}, error); });
    EXPECT_EQ(error, std::errc::address_not_available);
    tcp_listener::bind("10.0.0.2:81", {}, error);
    EXPECT_EQ(error, std::errc::address_not_available);
  });
}

TEST(sim_network_hosts, are_inherited_and_may_be_of_either_family) {
  in_ten_schedules([] {
    auto listener = sim::on_host("fd00::1", [] { return tcp_listener::bind("[fd00::1]:80"); });
    fiber f = sim::on_host("[fd00::2]", [] {
      return spawn([] { go([] { tcp_stream::connect("[fd00::1]:80").write_all(bytes("hello")); }); });
    });
    auto c = listener.accept();
    EXPECT_EQ(read(c, 5), "hello");
    EXPECT_TRUE(c.remote_address().starts_with("[fd00::2]:")) << c.remote_address();
    f.join();
    tcp_stream::connect("[fd00::1]:80").write_all(bytes("hello"));
    EXPECT_TRUE(listener.accept().remote_address().starts_with("[2001:db8::1]:"));
  });
}

TEST(sim_network_links, what_was_sent_while_they_were_cut_arrives_when_they_are_restored) {
  in_ten_schedules([] {
    auto c = connected();
    c.near.write_all(bytes("on its way, "));
    sim::set_link(here, there, {.cut = true});
    c.near.write_all(bytes("held, "));
    c.near.write_all(bytes("and held"));
    c.near.shutdown_write();
    EXPECT_EQ(read(c.far, 12), "on its way, ");
    std::array<std::byte, 1> more;
    EXPECT_TRUE(hears_nothing_for(10s, c.far));
    c.far.write_all(bytes("the way back is another"));
    EXPECT_EQ(read(c.near, 23), "the way back is another");
    sim::set_link(here, there, {});
    EXPECT_EQ(read(c.far, 14), "held, and held");
    EXPECT_EQ(c.far.read_some(more), 0u);
  });
}

TEST(sim_network_links, who_connects_through_silence_gives_up) {
  in_ten_schedules([] {
    auto listener = sim::on_host(there, [] { return tcp_listener::bind(":80"); });
    sim::set_link(here, there, {.cut = true});
    EXPECT_GE(took([] { EXPECT_EQ(connect_from(here, "10.0.0.2:80"), std::errc::timed_out); }), 127s);
    EXPECT_LT(took([] { EXPECT_EQ(connect_from(here, "10.0.0.2:80", 1s), std::errc::timed_out); }), 2s);
    sim::set_link(here, there, {});
    sim::set_link(there, here, {.cut = true});
    EXPECT_EQ(connect_from(here, "10.0.0.2:80"), std::errc::timed_out);
    fiber f = spawn([] { EXPECT_FALSE(connect_from(here, "10.0.0.2:80")); });
    this_fiber::sleep_for(100s);
    sim::set_link(there, here, {});
    f.join();
  });
}

TEST(sim_network_links, who_sends_into_silence_gives_up_and_who_reads_hears_nothing) {
  for (const bool the_way_back : {false, true}) {
    sim::run({}, [&] {
      auto c = connected();
      the_way_back ? sim::set_link(there, here, {.cut = true}) : sim::set_link(here, there, {.cut = true});
      c.near.write_all(bytes("hello?"));
      std::array<std::byte, 1> buffer;
      std::error_code error;
      EXPECT_GE(took([&] { c.near.read_some(buffer, error); }), 924s);
      EXPECT_EQ(error, std::errc::timed_out);
      if (the_way_back) EXPECT_EQ(read(c.far, 6), "hello?");
      EXPECT_TRUE(hears_nothing_for(24h, c.far));
    });
  }
}

TEST(sim_network_links, a_reset_is_lost_and_learnt_by_who_sends) {
  in_ten_schedules([] {
    auto c = connected();
    c.far.write_all(bytes("unread"));
    this_fiber::sleep_for(1s);
    sim::set_link(here, there, {.cut = true});
    { auto gone = std::move(c.near); }
    std::array<std::byte, 1> buffer;
    EXPECT_TRUE(hears_nothing_for(24h, c.far));
    sim::set_link(here, there, {});
    EXPECT_TRUE(hears_nothing_for(24h, c.far));
    c.far.write_all(bytes("are you there?"));
    std::error_code error;
    c.far.read_some(buffer, error);
    EXPECT_EQ(error, std::errc::connection_reset);
  });
}

TEST(sim_network_links, slow_ones_let_so_much_through_and_their_senders_wait) {
  in_ten_schedules([] {
    auto c = connected();
    sim::set_link(here, there, {.latency = 5s, .bytes_per_second = 1000});
    fiber f = spawn([&] { EXPECT_GE(took([&] { read(c.far, 10'000); }), 15s); });
    EXPECT_LT(took([&] { c.near.write_all(bytes(std::string(10'000, 'x'))); }), 1s);
    f.join();
    fiber g = spawn([&] { read(c.far, 200'000); });
    EXPECT_GE(took([&] { c.near.write_all(bytes(std::string(200'000, 'x'))); }), 100s);
    g.join();
  });
}

TEST(sim_network_links, connections_break_at_both_ends) {
  in_ten_schedules([] {
    auto c = connected();
    const auto is_reset = [](tcp_stream& s) {
      std::array<std::byte, 1> buffer;
      std::error_code error;
      s.read_some(buffer, error);
      EXPECT_EQ(error, std::errc::connection_reset);
    };
    fiber f = spawn([&] { is_reset(c.far); });
    this_fiber::sleep_for(1s);
    sim::break_connections(there, here);
    f.join();
    is_reset(c.near);
    EXPECT_NO_THROW(connected());
  });
}

// A megabyte flows, and nothing the other way: whoever waits for that may be told of it all the same.
int told_in_vain(std::uint32_t one_in_spurious) {
  int count = 0;
  for (sim::options o{.one_in_spurious = one_in_spurious}; o.seed <= 10; ++o.seed)
    sim::run(o, [&] {
      auto [near, far] = connected();
      near.set_timeout(1s);
      std::string sent(1'000'000, ' ');
      for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i % 251);
      fiber writer = spawn([&, &near = near] { near.write_all(std::as_bytes(std::span(sent))); });
      fiber reader = spawn([&, &far = far] { EXPECT_TRUE(read(far, sent.size()) == sent); });
      std::error_code error;
      near.wait_readable(error);
      EXPECT_TRUE(!error || error == std::errc::timed_out) << error.message();
      if (!error) ++count;
      writer.join();
      reader.join();
      std::byte nothing;
      EXPECT_EQ(near.read_some({&nothing, 1}, error), 0u);
      EXPECT_EQ(error, std::errc::timed_out);
    });
  return count;
}

TEST(sim_network, sockets_look_ready_in_vain_where_the_options_say_so) {
  EXPECT_GT(told_in_vain(2), 0);
  EXPECT_EQ(told_in_vain(0), 0);
}

// Room for what is to be written wakes the reader, too; it waits for no longer because of that.
TEST(sim_network, who_is_woken_for_nothing_times_out_all_the_same) {
  for (const bool by_task : {false, true})
    for (sim::options o{.one_in_spurious = 1}; o.seed <= 10; ++o.seed)
      sim::run(o, [&] {
        auto [near, far] = connected();
        near.set_timeout(1s);
        const std::string much(200'000, 'x');
        fiber writer = spawn([&, &near = near] {
          for (int i = 0; i < 50; ++i) {
            near.write_all(std::as_bytes(std::span(much)));
            this_fiber::sleep_for(100ms);
          }
        });
        fiber reader = spawn([&, &far = far] { EXPECT_EQ(read(far, 50 * much.size()).size(), 50 * much.size()); });
        std::byte nothing;
        std::error_code error;
        const auto waited = took([&, &near = near] {
          if (by_task)
            spawn(near.async_read_some({&nothing, 1}, error)).join();
          else
            near.read_some({&nothing, 1}, error);
        });
        EXPECT_EQ(error, std::errc::timed_out);
        EXPECT_LT(waited, 1500ms);
        writer.join();
        reader.join();
      });
}

TEST(sim_network, misuse_is_told) {
  EXPECT_THROW(sim::on_host(here, [] {}), std::logic_error);
  EXPECT_THROW(sim::set_link(here, there, {}), std::logic_error);
  sim::run({}, [] {
    for (const auto* wrong : {"localhost", "127.0.0.1", "0.0.0.0", "10.0.0.1:80", "::", "[::1]", "10.0.0.256"})
      EXPECT_THROW(sim::on_host(wrong, [] {}), std::invalid_argument) << wrong;
    EXPECT_THROW(sim::set_link(here, here, {}), std::invalid_argument);
    EXPECT_THROW(sim::set_link(here, there, {.latency = -1s}), std::invalid_argument);
    EXPECT_THROW(sim::set_link(here, "nobody", {}), std::invalid_argument);
    EXPECT_NO_THROW(sim::set_link(here, "", {}));
  });
}

}  // namespace
}  // namespace thrum
