// Links that are slow, lose packets, or are cut: deadlines hold, nothing hangs, and what arrives is what was sent.
//
// Each test has a network of its own: its thread leaves the program's network namespace before it makes its runtime,
// whose threads inherit the new one, as do the children that configure it. Needs root, ip and tc.
#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sched.h>

#include "network_support.hpp"

namespace thrum {
namespace {

using namespace test;

class link_test : public ::testing::TestWithParam<unsigned> {
 protected:
  // f() on a fiber, in a network where there is nothing but a loopback interface that is up and has been treated
  // with the command, if any. Skips the test where that cannot be had.
  template <class F>
  void run(const char* treatment, F f) {
    std::string missing;
    std::thread([&] {
      if (::unshare(CLONE_NEWNET) != 0)
        missing = "no network of its own: unshare(CLONE_NEWNET) is not permitted";
      else if (!succeeds("ip link set lo up"))
        missing = "no network of its own: ip cannot bring its loopback interface up";
      else if (treatment && !succeeds(treatment))
        missing = std::string("the kernel or its configuration lacks: ") + treatment;
      else
        with_workers(GetParam(), f);
    }).join();
    if (!missing.empty()) GTEST_SKIP() << missing;
  }

  // On whatever thread of that network; it is a short call of a child.
  static bool succeeds(const std::string& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }
  static void cut() { EXPECT_TRUE(succeeds("ip link set lo down")); }
  static void mend() { EXPECT_TRUE(succeeds("ip link set lo up")); }
};
INSTANTIATE_TEST_SUITE_P(workers, link_test, worker_counts, count_name);

void exchange_much() {
  net::server server(tcp_listener::bind("127.0.0.1:0"), [](tcp_stream c) { echo_all(c); });
  auto serving = spawn([&] { server.serve(); });
  for_each_concurrent(std::vector<int>(8), 8, [&](int) {
    auto c = tcp_stream::connect(here(server.listener()));
    c.set_timeout(hang_guard);
    std::string sent;
    while (sent.size() < 20'000) sent += std::to_string(sent.size()) + " ";
    fiber writing = spawn([&] { c.write_all(bytes(sent)); });
    EXPECT_EQ(read_whole(c, sent.size()), sent);
    writing.join();
  });
  const auto r = server.shutdown(hang_guard);
  serving.join();
  EXPECT_EQ(r.served + r.drained, 8u);
}

TEST_P(link_test, bytes_arrive_whole_over_a_link_that_delays_and_loses) {
  run("tc qdisc add dev lo root netem delay 5ms 2ms loss 3%", exchange_much);
}

TEST_P(link_test, bytes_arrive_whole_over_a_narrow_link) {
  run("tc qdisc add dev lo root tbf rate 8mbit burst 70k limit 200k", exchange_much);
}

TEST_P(link_test, deadlines_hold_when_the_link_is_cut) {
  run(nullptr, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    auto client = tcp_stream::connect(here(l));
    auto server = l.accept();
    cut();
    client.set_timeout(20ms);
    EXPECT_EQ(code_of([&] { read_text(client); }), std::errc::timed_out);
    EXPECT_EQ(code_of([&] { client.write_all(std::vector<std::byte>(std::size_t{64} << 20)); }), std::errc::timed_out);
    std::error_code error;
    const auto refused = tcp_stream::connect(here(l), 50ms, error);
    EXPECT_TRUE(error == std::errc::timed_out || error == std::errc::network_unreachable) << error.message();
    server.set_deadline(clock::now() + 10ms);
    EXPECT_EQ(code_of([&] { read_whole(server, std::size_t{64} << 20); }), std::errc::timed_out);
  });
}

TEST_P(link_test, connections_outlive_a_cut) {
  run(nullptr, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    auto client = tcp_stream::connect(here(l));
    auto server = l.accept();
    cut();
    client.write_all(bytes("sent while it was cut"));
    fiber reading = spawn([&] { EXPECT_EQ(read_whole(server, 21), "sent while it was cut"); });
    until_the_others_wait();
    mend();
    reading.join();
  });
}

TEST_P(link_test, a_server_shuts_down_although_its_peers_are_cut_off) {
  run(nullptr, [] {
    net::server server(tcp_listener::bind("127.0.0.1:0"), [](tcp_stream c) { echo_all(c); });
    auto serving = spawn([&] { server.serve(); });
    std::vector<tcp_stream> peers;
    for (int i = 0; i < 20; ++i) {
      peers.push_back(tcp_stream::connect(here(server.listener())));
      peers.back().write_all(bytes("x"));
      EXPECT_EQ(read_whole(peers.back(), 1), "x");
    }
    cut();
    EXPECT_EQ(server.shutdown(0ns).cancelled, 20u);
    serving.join();
  });
}

}  // namespace
}  // namespace thrum
