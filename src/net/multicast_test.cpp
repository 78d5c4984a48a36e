// Multicast, on the loopback interface, which some kernels and containers do not let take part.
#include <thrum/net/options.hpp>
#include <thrum/net/udp_socket.hpp>

#include <array>
#include <string>
#include <system_error>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class multicast_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, multicast_test, worker_counts, count_name);

struct family {
  const char *everywhere, *self, *group;
};
constexpr std::array families{family{"0.0.0.0:0", "127.0.0.1:0", "239.255.77.7"},
                              family{"[::]:0", "[::1]:0", "[ff01::7777]"}};

std::string receive_text(udp_socket& s) {
  std::array<char, 64> buffer;
  return {buffer.data(), s.receive(std::as_writable_bytes(std::span(buffer))).size};
}

endpoint group_of(const family& f, const udp_socket& member) {
  return endpoint(std::string(f.group) + ":" + std::to_string(member.local_port()));
}

// A member and a sender; without them when the kernel forbids it.
struct members {
  udp_socket member, sender;
  endpoint group;
  std::error_code error;

  explicit members(const family& f) {
    member = udp_socket::bind(f.everywhere, {}, error);
    if (!error) sender = udp_socket::bind(f.self, {}, error);
    if (!error) sender.send_to_groups_by("lo", error);
    if (error) return;
    group = group_of(f, member);
    member.join_group(group, "lo", error);
    if (!error) sender.send_to(bytes("probe"), group, error);
    if (!error) member.set_timeout(2s);
    if (error) return;
    std::array<std::byte, 64> buffer;
    (void)member.receive(buffer, error);
    member.set_timeout(0s);
  }
};

template <class F>
void with_members(F f) {
  int usable = 0;
  for (const auto& family : families) {
    members m(family);
    if (m.error) continue;
    ++usable;
    f(m, family);
  }
  if (usable == 0) GTEST_SKIP() << "the kernel does not let the loopback interface take part in multicast";
}

TEST_P(multicast_test, members_receive_what_is_sent_to_the_group) {
  run([] {
    with_members([](members& m, const family&) {
      m.sender.send_to(bytes("hello"), m.group);
      EXPECT_EQ(receive_text(m.member), "hello");
    });
  });
}

TEST_P(multicast_test, who_has_left_does_not) {
  run([] {
    with_members([](members& m, const family& f) {
      EXPECT_EQ(code_of([&] { m.member.join_group(m.group, "lo"); }), std::errc::address_in_use);
      m.member.leave_group(m.group, "lo");
      EXPECT_EQ(code_of([&] { m.member.leave_group(m.group, "lo"); }), std::errc::address_not_available);
      m.sender.send_to(bytes("not for it"), m.group);
      const endpoint itself(std::string(f.self).substr(0, std::string(f.self).rfind(':')) + ":" +
                            std::to_string(m.member.local_port()));
      m.sender.send_to(bytes("for it"), itself);
      EXPECT_EQ(receive_text(m.member), "for it");
    });
  });
}

// As IP_MULTICAST_ALL has it: the host has joined, and the port is theirs.
TEST_P(multicast_test, who_shares_the_port_hears_what_another_has_joined) {
  run([] {
    with_members([](members& m, const family& f) {
      const udp_options shared{.reuse_address = true};
      auto member = udp_socket::bind(f.everywhere, shared);
      const auto port = ":" + std::to_string(member.local_port());
      const auto everywhere = std::string(f.everywhere).substr(0, std::string(f.everywhere).rfind(':')) + port;
      auto other_member = udp_socket::bind(everywhere, shared), sharer = udp_socket::bind(everywhere, shared);
      const auto group = group_of(f, member);
      auto at_group = udp_socket::bind(std::string(f.group) + port, shared);
      member.join_group(group, "lo");
      other_member.join_group(group, "lo");
      m.sender.send_to(bytes("all"), group);
      for (auto* s : {&member, &other_member, &sharer, &at_group}) EXPECT_EQ(receive_text(*s), "all");
      EXPECT_EQ(at_group.local_address(), group.to_string());
    });
  });
}

TEST_P(multicast_test, membership_ends_with_the_socket) {
  run([] {
    with_members([](members& m, const family& f) {
      const udp_options shared{.reuse_address = true};
      auto member = udp_socket::bind(f.everywhere, shared);
      const auto port = ":" + std::to_string(member.local_port());
      auto sharer =
          udp_socket::bind(std::string(f.everywhere).substr(0, std::string(f.everywhere).rfind(':')) + port, shared);
      const auto group = group_of(f, member);
      m.member.leave_group(group, "lo");
      member.join_group(group, "lo");
      member.close();
      m.sender.send_to(bytes("nobody is there"), group);
      m.sender.send_to(bytes("for it"), endpoint(std::string(f.self).substr(0, std::string(f.self).rfind(':')) + port));
      EXPECT_EQ(receive_text(sharer), "for it");
    });
  });
}

TEST_P(multicast_test, a_group_may_be_the_peer) {
  run([] {
    with_members([](members& m, const family&) {
      m.sender.set_peer(m.group);
      m.sender.send(bytes("to the peer"));
      EXPECT_EQ(receive_text(m.member), "to the peer");
    });
  });
}

TEST_P(multicast_test, hops_and_loopback_are_options_of_both_families) {
  run([] {
    for (const auto& f : families) {
      std::error_code error;
      auto s = udp_socket::bind(f.self, {}, error);
      if (error) continue;  // There is no IPv6.
      EXPECT_EQ(s.get_option<multicast_hops>().value(), 1);
      s.set_option(multicast_hops(7));
      EXPECT_EQ(s.get_option<multicast_hops>().value(), 7);
      EXPECT_TRUE(s.get_option<multicast_loopback>().value());
      s.set_option(multicast_loopback(false));
      EXPECT_FALSE(s.get_option<multicast_loopback>().value());
      EXPECT_EQ(code_of([&] { s.set_option(multicast_hops(256)); }), std::errc::invalid_argument);
    }
  });
}

TEST_P(multicast_test, errors_are_told) {
  run([] {
    auto s = udp_socket::bind("127.0.0.1:0");
    const endpoint group("239.255.77.7:1");
    EXPECT_EQ(code_of([&] { s.join_group(group, "no-such-interface"); }), std::errc::no_such_device);
    EXPECT_EQ(code_of([&] { s.send_to_groups_by("no-such-interface"); }), std::errc::no_such_device);
    EXPECT_EQ(code_of([&] { s.leave_group(endpoint("127.0.0.1:1"), "lo"); }), std::errc::address_not_available);
    EXPECT_EQ(code_of([&] { s.join_group(endpoint("[ff01::7777]:1"), "lo"); }), std::errc::no_protocol_option);
    EXPECT_EQ(code_of([&] { s.join_group(endpoint("127.0.0.1:1"), "lo"); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&] { udp_socket().join_group(group); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([&] { udp_socket().send_to_groups_by("lo"); }), std::errc::bad_file_descriptor);
  });
}

}  // namespace
}  // namespace thrum::net
