// Options by name.
#include <thrum/net/endpoint.hpp>
#include <thrum/net/options.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/net/udp_socket.hpp>
#include <thrum/net/unix_stream.hpp>

#include <string>
#include <system_error>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class options_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, options_test, worker_counts, count_name);

TEST_P(options_test, what_is_set_can_be_got) {
  run([] {
    auto [client, server] = connect_pair();
    EXPECT_TRUE(client.get_option<no_delay>().value() && server.get_option<no_delay>().value());
    for (const bool on : {false, true}) {
      client.set_option(no_delay(on));
      EXPECT_EQ(client.get_option<no_delay>().value(), on);
      client.set_option(keep_alive(on));
      EXPECT_EQ(client.get_option<keep_alive>().value(), on);
      client.set_option(reset_on_close(on));
      EXPECT_EQ(client.get_option<reset_on_close>().value(), on);
    }
    client.set_option(receive_buffer_size(20000));
    EXPECT_GE(client.get_option<receive_buffer_size>().value(), 20000);
    client.set_option(send_buffer_size(20000));
    EXPECT_GE(client.get_option<send_buffer_size>().value(), 20000);
    auto u = udp_socket::bind("127.0.0.1:0");
    u.set_option(broadcast(true));
    EXPECT_TRUE(u.get_option<broadcast>().value());
  });
}

TEST_P(options_test, resetting_is_what_the_peer_sees) {
  run([] {
    auto [client, server] = connect_pair();
    client.set_option(reset_on_close(true));
    client.close();
    EXPECT_EQ(code_of([&, &server = server] { read_text(server); }), std::errc::connection_reset);
  });
}

TEST_P(options_test, errors_are_told) {
  run([] {
    EXPECT_EQ(code_of([] { tcp_stream().set_option(no_delay(true)); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([] { (void)tcp_stream().get_option<keep_alive>(); }), std::errc::bad_file_descriptor);
    auto u = udp_socket::bind("127.0.0.1:0");
    std::error_code error;
    u.set_option(no_delay(true), error);
    EXPECT_TRUE(error);
    u.set_option(broadcast(true), error);
    EXPECT_FALSE(error);
  });
}

TEST(options_simulated, connections_inherit_those_of_their_listener) {
  sim::run({.seed = 1}, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    l.set_option(keep_alive(true));
    auto client = tcp_stream::connect(l.local_address());
    EXPECT_TRUE(l.accept().get_option<keep_alive>().value());
    EXPECT_FALSE(client.get_option<keep_alive>().value());
  });
}

}  // namespace
}  // namespace thrum::net
