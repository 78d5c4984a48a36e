// What the headers in net/ promise when something fails: errors, time-outs, cancellation, closing.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class tcp_errors_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, tcp_errors_test, worker_counts, count_name);

TEST_P(tcp_errors_test, read_exactly_tells_a_premature_end) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all(bytes("12345"));
    client.close();
    std::array<std::byte, 8> buffer;
    std::error_code error;
    EXPECT_EQ(server.read_exactly(buffer, error), 5u);
    EXPECT_EQ(error, std::errc::connection_aborted);
    EXPECT_EQ(code_of([&, &server = server] { server.read_exactly(buffer); }), std::errc::connection_aborted);
    EXPECT_EQ(server.read_exactly(std::span(buffer).first(0), error), 0u);
    EXPECT_FALSE(error);
  });
}

TEST_P(tcp_errors_test, timeouts_and_deadlines_are_timed_out) {
  run([] {
    auto [client, server] = connect_pair();
    const auto start = clock::now();
    server.set_timeout(3ms);
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    EXPECT_GE(clock::now() - start, 3ms);
    EXPECT_EQ(code_of([&server = server] { server.wait_readable(); }), std::errc::timed_out);
    client.write_all(bytes("a"));
    EXPECT_EQ(read_text(server), "a");  // A timeout concerns one operation.
    server.set_timeout({});
    server.set_deadline(start);
    client.write_all(bytes("b"));
    // A deadline that has passed refuses also what would not have to wait.
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    EXPECT_EQ(code_of([&server = server] { server.write_all(bytes("x")); }), std::errc::timed_out);
    server.set_deadline(clock::now() + hang_guard);
    EXPECT_EQ(read_text(server), "b");
    server.set_deadline(clock::now() + 3ms);
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    server.clear_deadline();
    client.write_all(bytes("c"));
    EXPECT_EQ(read_text(server), "c");
  });
}

// Somebody always runs, so that timers fire before anybody asks the poller, and to the stream the socket is still
// empty.
TEST_P(tcp_errors_test, what_is_there_already_is_read_however_short_the_timeout) {
  run([] {
    scope busy;
    for (unsigned i = 0; i < 5; ++i)
      busy.go([] {
        while (!this_fiber::stop_requested()) this_fiber::yield();
      });
    auto [client, server] = connect_pair();
    std::array<std::byte, 8> buffer;
    server.set_timeout(1ns);
    EXPECT_EQ(code_of([&, &server = server] { server.read_some(buffer); }), std::errc::timed_out);
    for (int i = 0; i < 100; ++i) {
      client.write_all(bytes("a"));
      server.set_timeout({});
      EXPECT_EQ(server.read_some(buffer), 1u);
      client.write_all(bytes("b"));
      server.set_timeout(1ns);
      std::error_code error;
      EXPECT_EQ(i % 2 == 0 ? server.read_some(buffer, error) : spawn(server.async_read_some(buffer, error)).join(), 1u)
          << error.message();
    }
  });
}

TEST_P(tcp_errors_test, accept_and_writing_time_out_too) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    l.set_timeout(2ms);
    EXPECT_EQ(code_of([&] { l.accept(); }), std::errc::timed_out);
    auto [client, server] = connect_pair();
    EXPECT_GT(fill(client), 0u);
    client.set_timeout(2ms);
    EXPECT_EQ(code_of([&client = client] { client.wait_writable(); }), std::errc::timed_out);
    std::error_code error;  // The kernel moves bytes meanwhile, which makes room for some more.
    for (const std::vector<std::byte> block(65536); !error;) client.write_some(block, error);
    EXPECT_EQ(error, std::errc::timed_out);
  });
}

TEST_P(tcp_errors_test, a_write_that_stops_in_the_middle_makes_the_stream_unusable) {
  run([] {
    auto [client, server] = connect_pair();
    client.set_timeout(10ms);
    const std::vector<std::byte> much(64 << 20);
    std::error_code error;
    const auto written = client.write_all(much, error);
    EXPECT_EQ(error, std::errc::timed_out);
    EXPECT_GT(written, 0u);
    EXPECT_LT(written, much.size());
    EXPECT_EQ(code_of([&client = client] { client.write_all(bytes("x")); }), std::errc::broken_pipe);
    EXPECT_EQ(code_of([&client = client] { client.write_some(bytes("x")); }), std::errc::broken_pipe);
  });
}

TEST_P(tcp_errors_test, a_write_that_has_not_begun_may_be_repeated) {
  run([] {
    auto [client, server] = connect_pair();
    std::size_t total = fill(client);
    client.set_timeout(2ms);
    std::error_code error;
    EXPECT_EQ(client.write_all(bytes("x"), error), 0u);
    EXPECT_EQ(error, std::errc::timed_out);
    client.set_timeout({});
    fiber writer = spawn([&client = client] {
      client.write_all(bytes("x"));
      client.shutdown_write();
    });
    std::vector<std::byte> buffer(1 << 16);
    std::size_t got = 0;
    while (auto n = server.read_some(buffer)) got += n;
    writer.join();
    EXPECT_EQ(got, total + 1);
  });
}

TEST_P(tcp_errors_test, writing_to_a_peer_that_is_gone_is_an_error_and_no_signal) {
  run([] {
    auto [client, server] = connect_pair();
    server.close();
    std::error_code error;
    for (int i = 0; i < 1000 && !error; ++i) {
      client.write_all(bytes("x"), error);
      this_fiber::sleep_for(100us);
    }
    EXPECT_TRUE(error == std::errc::broken_pipe || error == std::errc::connection_reset) << error.message();
  });
}

TEST_P(tcp_errors_test, a_reset_is_reported) {
  run([] {
    auto [client, server] = connect_pair();
    server.write_all(bytes("unread"));  // Closing over it resets the connection.
    client.wait_readable();
    fiber reader =
        spawn([&server = server] { EXPECT_EQ(code_of([&] { read_text(server); }), std::errc::connection_reset); });
    settle();
    client.close();
    reader.join();
  });
}

TEST_P(tcp_errors_test, a_connection_that_nobody_accepted_is_reset) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    auto client = tcp_stream::connect(here(l));
    l.close();
    EXPECT_EQ(code_of([&] { read_text(client); }), std::errc::connection_reset);
  });
}

TEST_P(tcp_errors_test, closing_wakes_those_who_wait) {
  run([] {
    auto [client, server] = connect_pair();
    auto l = tcp_listener::bind("127.0.0.1:0");
    fiber reader =
        spawn([&server = server] { EXPECT_EQ(code_of([&] { read_text(server); }), std::errc::bad_file_descriptor); });
    fiber acceptor = spawn([&] { EXPECT_EQ(code_of([&] { l.accept(); }), std::errc::bad_file_descriptor); });
    this_fiber::sleep_for(20ms);  // Both wait by now.
    server.close();
    server.close();
    l.close();
    reader.join();
    acceptor.join();
    EXPECT_EQ(read_text(client), "");
    std::error_code error;
    std::array<std::byte, 1> one;
    EXPECT_EQ(server.read_some(one, error), 0u);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
  });
}

TEST_P(tcp_errors_test, connecting_to_nobody_is_refused) {
  run([] {
    std::uint16_t port;
    {
      auto l = tcp_listener::bind("127.0.0.1:0");
      port = l.local_port();
    }
    const auto address = "127.0.0.1:" + std::to_string(port);
    EXPECT_EQ(code_of([&] { tcp_stream::connect(address); }), std::errc::connection_refused);
    EXPECT_EQ(code_of([&] { tcp_stream::connect(endpoint(address)); }), std::errc::connection_refused);
    std::error_code error;
    const auto s = tcp_stream::connect(address, 0ns, error);
    EXPECT_EQ(error, std::errc::connection_refused);
    EXPECT_FALSE(s.is_open());
  });
}

TEST_P(tcp_errors_test, an_address_in_use_is_told) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    EXPECT_EQ(code_of([&] { tcp_listener::bind(here(l)); }), std::errc::address_in_use);
    std::error_code error;
    EXPECT_FALSE(tcp_listener::bind(here(l), {}, error).is_open());
    EXPECT_EQ(error, std::errc::address_in_use);
    auto first = tcp_listener::bind("127.0.0.1:0", {.reuse_port = true});
    auto second = tcp_listener::bind(here(first), {.reuse_port = true});
    EXPECT_EQ(first.local_port(), second.local_port());
  });
}

TEST_P(tcp_errors_test, addresses_that_cannot_be_read_are_invalid) {
  run([] {
    EXPECT_EQ(code_of([] { tcp_stream::connect(endpoint()); }), std::errc::invalid_argument);
    for (const char* text : {"", "localhost:1", "127.0.0.1", "127.0.0.1:70000", "::1:5"}) {
      EXPECT_EQ(code_of([&] { tcp_stream::connect(text); }), std::errc::invalid_argument);
      EXPECT_EQ(code_of([&] { tcp_listener::bind(text); }), std::errc::invalid_argument);
    }
  });
}

TEST_P(tcp_errors_test, cancellation_is_reported_by_the_error_code_overloads) {
  run([] {
    auto [client, server] = connect_pair();
    auto l = tcp_listener::bind("127.0.0.1:0");
    const auto address = here(l);
    scope s;
    s.cancel();
    std::array<std::byte, 4> buffer;
    std::error_code error;
    const auto reported = [&] { return std::exchange(error, {}) == std::errc::operation_canceled; };
    EXPECT_EQ(server.read_some(buffer, error), 0u);
    EXPECT_TRUE(reported());
    EXPECT_EQ(server.read_exactly(buffer, error), 0u);
    EXPECT_TRUE(reported());
    EXPECT_EQ(server.write_some(buffer, error), 0u);
    EXPECT_TRUE(reported());
    EXPECT_EQ(server.write_all(buffer, error), 0u);
    EXPECT_TRUE(reported());
    server.wait_readable(error);
    EXPECT_TRUE(reported());
    server.wait_writable(error);
    EXPECT_TRUE(reported());
    EXPECT_FALSE(l.accept(error).is_open());
    EXPECT_TRUE(reported());
    EXPECT_FALSE(tcp_stream::connect(address, 0ns, error).is_open());
    EXPECT_TRUE(reported());
    EXPECT_THROW(server.read_some(buffer), cancelled);
    EXPECT_THROW(l.accept(), cancelled);
    EXPECT_THROW(tcp_stream::connect(address), cancelled);
    s.join();
    // Nothing was written, nothing is broken.
    server.write_all(bytes("ok"));
    EXPECT_EQ(read_whole(client, 2), "ok");
  });
}

TEST(tcp_errors, running_out_of_descriptors_is_an_error_and_the_listener_goes_on) {
  with_workers(1, [] {
    auto l = tcp_listener::bind("127.0.0.1:0", {.wait_for_descriptors = false});
    auto waiting = tcp_stream::connect(here(l));
    descriptor_limit tight(3);
    // No exceptions here: UndefinedBehaviorSanitizer looks into them by means of a pipe.
    std::error_code refused, no_socket;
    l.accept(refused);
    tcp_stream::connect(here(l), {}, no_socket);
    tight.lift();
    EXPECT_EQ(refused, std::errc::too_many_files_open);
    EXPECT_EQ(no_socket, std::errc::too_many_files_open);
    EXPECT_TRUE(l.accept().is_open());
  });
}

}  // namespace
}  // namespace thrum::net
