// What sim_network.hpp promises of Unix sockets: names are each host's own, and paths are files on its disk.
#include <thrum/file.hpp>
#include <thrum/net/unix_datagram.hpp>
#include <thrum/net/unix_listener.hpp>
#include <thrum/net/unix_stream.hpp>
#include <thrum/sim_disk.hpp>
#include <thrum/sim_network.hpp>

#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include <thrum/sim.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::unix_datagram;
using net::unix_listener;
using net::unix_stream;

constexpr std::string_view here = "10.0.0.1", there = "10.0.0.2";

std::error_code connect_to(const std::string& name) {
  return code_of([&] { unix_stream::connect(name); });
}
std::error_code bind_to(const std::string& name) {
  return code_of([&] { unix_listener::bind(name); });
}

TEST(sim_unix, names_are_each_hosts_own) {
  for (const std::string name : {"@service", "/tmp/service"})
    sim::run({}, [&] {
      auto one = sim::on_host(here, [&] { return unix_listener::bind(name); });
      EXPECT_TRUE(sim::on_host(there, [&] { return connect_to(name); }));
      auto two = sim::on_host(there, [&] { return unix_listener::bind(name); });
      EXPECT_EQ(sim::on_host(there, [&] { return bind_to(name); }), std::errc::address_in_use);
      auto client = sim::on_host(there, [&] { return unix_stream::connect(name); });
      EXPECT_TRUE(two.accept().is_open());
      two.close();  // By somebody on another host.
      EXPECT_TRUE(sim::on_host(there, [&] { return connect_to(name); }));
      EXPECT_FALSE(sim::on_host(here, [&] { return connect_to(name); }));
    });
}

TEST(sim_unix, links_do_not_concern_them) {
  sim::run({.one_in_resets = 2, .one_in_lost = 2, .one_in_duplicated = 2}, [] {
    auto [a, b] = unix_stream::pair();
    auto [c, d] = unix_datagram::pair();
    std::array<std::byte, 1> one;
    for (int i = 0; i < 100; ++i) {
      a.write_all(bytes("x"));
      EXPECT_EQ(b.read_some(one), 1u);
      c.send(bytes("y"));
      EXPECT_EQ(d.receive(one).size, 1u);
    }
    d.set_timeout(1s);
    EXPECT_EQ(code_of([&, &d = d] { d.receive(one); }), std::errc::timed_out);
  });
}

TEST(sim_unix, a_path_is_a_file_on_the_disk) {
  sim::run({}, [] {
    make_directory("/tmp/d");
    auto l = unix_listener::bind("/tmp/d/s");
    EXPECT_EQ(stat_file("/tmp/d/s").kind, file_kind::other);
    EXPECT_EQ(code_of([] { read_file("/tmp/d/s"); }), std::errc::no_such_device_or_address);
    EXPECT_EQ(connect_to("/tmp/d/../d/s"), std::error_code());
    EXPECT_FALSE(sim::on_host(there, [] { return connect_to("/tmp/d/s"); }) == std::error_code());
  });
}

// The names that a cut of power takes back: a server that does not replace what is stale does not start again.
TEST(sim_unix, a_cut_of_power_may_leave_a_stale_file) {
  int stale = 0, gone = 0;
  for (sim::options o; o.seed <= 20; ++o.seed)
    sim::run(o, [&] {
      { auto l = unix_listener::bind("/tmp/s"); }
      sim::cut_power("");
      const auto error = connect_to("/tmp/s");
      EXPECT_EQ(bind_to("/tmp/s") == std::errc::address_in_use, error == std::errc::connection_refused);
      ++(error == std::errc::connection_refused ? stale : gone);
      EXPECT_TRUE(unix_listener::bind("/tmp/s", {.replace_stale = true}).is_open());
    });
  EXPECT_GT(stale, 0);
  EXPECT_GT(gone, 0);
}

TEST(sim_unix, the_kernels_descriptors_are_passed_and_not_left_behind) {
  const auto before = open_descriptors();
  for (const bool ends_under_way : {true, false})
    sim::run({}, [=] {
      int pipe[2];
      ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
      const net::descriptor in(pipe[0]), out(pipe[1]);
      auto [a, b] = unix_stream::pair();
      for (int i = 0; i < 3; ++i) a.send_descriptor(out.native_handle(), bytes("x"));
      if (ends_under_way) return;
      std::array<std::byte, 1> one;
      net::descriptor got;
      EXPECT_EQ(b.read_some(one), 1u);  // Of the first nothing is wanted, and the last one is never read.
      EXPECT_EQ(b.receive_descriptor(one, got), 1u);
      EXPECT_EQ(::write(got.native_handle(), "!", 1), 1);
      EXPECT_EQ(::read(in.native_handle(), one.data(), 1), 1);
      EXPECT_EQ(code_of([&] { unix_stream::adopt(got.native_handle()); }), std::errc::operation_not_supported);
    });
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace thrum
