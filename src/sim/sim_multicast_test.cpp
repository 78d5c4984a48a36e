// What simulations promise of multicast on several hosts. What a host's own members see is that of the kernel, as
// src/net/multicast_test.cpp proves, which runs in simulations too.
#include <thrum/net/endpoint.hpp>
#include <thrum/net/options.hpp>
#include <thrum/net/udp_socket.hpp>
#include <thrum/sim_network.hpp>

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

constexpr const char* group = "239.1.2.3:99";
constexpr std::string_view all_hosts[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};

udp_socket member_on(std::string_view host) {
  return sim::on_host(host, [] {
    auto s = udp_socket::bind("0.0.0.0:99", {.reuse_address = true});
    s.join_group(endpoint(group));
    s.set_timeout(1s);
    return s;
  });
}

udp_socket sender_on(std::string_view host) {
  return sim::on_host(host, [] { return udp_socket::bind("0.0.0.0:0"); });
}

void send_number(udp_socket& s, int n) { s.send_to(std::as_bytes(std::span(&n, 1)), endpoint(group)); }

// What arrives until nothing has come for a second.
std::multiset<int> numbers_from(udp_socket& s) {
  std::multiset<int> all;
  for (std::error_code error;;) {
    int n = 0;
    s.receive(std::as_writable_bytes(std::span(&n, 1)), error);
    if (error) return all;
    all.insert(n);
  }
}

template <class F>
void in_ten_schedules(sim::options o, F f) {
  for (o.seed = 1; o.seed <= 10; ++o.seed) sim::run(o, f);
}

TEST(sim_multicast, each_member_on_each_host_gets_a_copy) {
  in_ten_schedules({}, [] {
    std::vector<udp_socket> members;
    for (const auto host : all_hosts)
      for (int i = 0; i < 2; ++i) members.push_back(member_on(host));
    auto out = sender_on(all_hosts[0]);
    send_number(out, 7);
    for (auto& m : members) {
      int n = 0;
      endpoint from;
      m.receive_from(std::as_writable_bytes(std::span(&n, 1)), from);
      EXPECT_EQ(n, 7);
      EXPECT_EQ(from.to_string(), "10.0.0.1:" + std::to_string(out.local_port()));
      EXPECT_TRUE(numbers_from(m).empty());
    }
  });
}

TEST(sim_multicast, hosts_without_a_member_get_none) {
  in_ten_schedules({}, [] {
    auto member = member_on(all_hosts[1]);
    auto stranger = sim::on_host(all_hosts[2], [] { return udp_socket::bind("0.0.0.0:99"); });
    stranger.set_timeout(1s);
    auto out = sender_on(all_hosts[0]);
    send_number(out, 1);
    EXPECT_EQ(numbers_from(member), std::multiset<int>{1});
    EXPECT_TRUE(numbers_from(stranger).empty());
    member.leave_group(endpoint(group));
    send_number(out, 2);
    EXPECT_TRUE(numbers_from(member).empty());
  });
}

TEST(sim_multicast, a_cut_link_keeps_only_its_own_copy) {
  in_ten_schedules({}, [] {
    auto cut_off = member_on(all_hosts[1]), other = member_on(all_hosts[2]);
    auto out = sender_on(all_hosts[0]);
    sim::set_link(all_hosts[0], all_hosts[1], {.cut = true});
    send_number(out, 1);
    EXPECT_EQ(numbers_from(other), std::multiset<int>{1});
    sim::set_link(all_hosts[0], all_hosts[1], {});
    send_number(out, 2);
    EXPECT_EQ(numbers_from(cut_off), std::multiset<int>{2});
  });
}

TEST(sim_multicast, each_copy_is_lost_or_doubled_on_its_own) {
  in_ten_schedules({.one_in_lost = 3, .one_in_duplicated = 3}, [] {
    auto one = member_on(all_hosts[1]), two = member_on(all_hosts[2]);
    auto out = sender_on(all_hosts[0]);
    for (int i = 0; i < 100; ++i) send_number(out, i);
    const auto first = numbers_from(one), second = numbers_from(two);
    int differ = 0, lost = 0, doubled = 0;
    for (int i = 0; i < 100; ++i) {
      differ += first.count(i) != second.count(i);
      lost += first.count(i) == 0;
      doubled += first.count(i) == 2;
      EXPECT_LE(first.count(i), 2u);
    }
    EXPECT_GT(differ, 10);
    EXPECT_GT(lost, 5);
    EXPECT_GT(doubled, 5);
  });
}

TEST(sim_multicast, the_own_host_gets_them_in_order_and_only_with_loopback) {
  in_ten_schedules({}, [] {
    auto near = member_on(all_hosts[0]), far = member_on(all_hosts[1]);
    auto out = sender_on(all_hosts[0]);
    for (int i = 0; i < 50; ++i) send_number(out, i);
    for (int i = 0; i < 50; ++i) {
      int n = -1;
      near.receive(std::as_writable_bytes(std::span(&n, 1)));
      EXPECT_EQ(n, i);
    }
    out.set_option(net::multicast_loopback(false));
    send_number(out, 50);
    EXPECT_EQ(numbers_from(far).size(), 51u);
    EXPECT_TRUE(numbers_from(near).empty());
  });
}

TEST(sim_multicast, hops_and_interface_keep_it_on_the_host) {
  in_ten_schedules({}, [] {
    auto near = member_on(all_hosts[0]), far = member_on(all_hosts[1]);
    auto out = sender_on(all_hosts[0]);
    out.set_option(net::multicast_hops(0));
    send_number(out, 1);
    out.set_option(net::multicast_hops(1));
    out.send_to_groups_by("lo");  // By which the member has not joined.
    send_number(out, 2);
    EXPECT_EQ(numbers_from(near), std::multiset<int>{1});
    near.join_group(endpoint(group), "lo");
    send_number(out, 3);
    EXPECT_EQ(numbers_from(near), std::multiset<int>{3});
    EXPECT_TRUE(numbers_from(far).empty());
    out.send_to_groups_by("eth0");
    send_number(out, 4);
    EXPECT_EQ(numbers_from(far), std::multiset<int>{4});
  });
}

TEST(sim_multicast, a_socket_is_in_twenty_groups_of_ipv4_at_most) {
  sim::run({}, [] {
    auto s = udp_socket::bind("0.0.0.0:99");
    const auto nth = [](int i) { return endpoint("239.9.9." + std::to_string(i) + ":99"); };
    for (int i = 0; i < 20; ++i) s.join_group(nth(i));
    EXPECT_EQ(code_of([&] { s.join_group(nth(20)); }), std::errc::no_buffer_space);
    s.leave_group(nth(5));
    s.join_group(nth(20));
  });
}

}  // namespace
}  // namespace thrum
