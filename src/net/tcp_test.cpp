// What the headers in net/ promise of listeners and streams.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class tcp_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, tcp_test, worker_counts, count_name);

auto bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string read_text(tcp_stream& s, std::size_t at_most = 4096) {
  std::string text(at_most, '\0');
  text.resize(s.read_some(std::as_writable_bytes(std::span(text))));
  return text;
}

std::string here(const tcp_listener& l) { return "127.0.0.1:" + std::to_string(l.local_port()); }

struct connection {
  tcp_stream client, server;
};

// Two ends of one connection; works on fibers and threads alike, because the kernel completes connections by itself.
connection connect_pair(std::string_view interface = "127.0.0.1") {
  auto l = tcp_listener::bind(std::string(interface) + ":0");
  auto client = tcp_stream::connect(std::string(interface) + ":" + std::to_string(l.local_port()));
  return {std::move(client), l.accept()};
}

// Fills the connection until a write would wait; returns how much went in.
std::size_t fill(tcp_stream& s) {
  const std::vector<std::byte> block(65536);
  std::size_t total = 0;
  s.set_timeout(20ms);
  for (std::error_code error; !error;) total += s.write_some(block, error);
  s.set_timeout({});
  return total;
}

template <class F>
std::error_code code_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

std::byte pattern(std::size_t i) { return static_cast<std::byte>(i * 7 + i / 251); }

TEST_P(tcp_test, echoes) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    fiber server = spawn([&] {
      auto c = l.accept();
      std::array<std::byte, 100> buffer;
      while (auto n = c.read_some(buffer)) c.write_all(std::span(buffer).first(n));
    });
    auto c = tcp_stream::connect(here(l));
    for (int i = 0; i < 50; ++i) {
      const auto text = "message " + std::to_string(i);
      c.write_all(bytes(text));
      std::string back(text.size(), '\0');
      c.read_exactly(std::as_writable_bytes(std::span(back)));
      EXPECT_EQ(back, text);
    }
    c.shutdown_write();
    EXPECT_EQ(read_text(c), "");
    server.join();
  });
}

TEST_P(tcp_test, the_end_of_the_stream_is_zero_for_ever) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all(bytes("last"));
    client.close();
    EXPECT_FALSE(client.is_open());
    EXPECT_EQ(read_text(server), "last");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(read_text(server), "");
  });
}

TEST_P(tcp_test, a_half_closed_connection_still_carries_the_other_direction) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all(bytes("question"));
    client.shutdown_write();
    EXPECT_EQ(read_text(server), "question");
    EXPECT_EQ(read_text(server), "");
    server.write_all(bytes("answer"));
    server.close();
    EXPECT_EQ(read_text(client), "answer");
    EXPECT_EQ(read_text(client), "");
  });
}

// The reader parks first, so that data and end arrive with one edge; a short read must not hide the end.
TEST_P(tcp_test, a_short_read_with_the_end_in_the_same_edge_does_not_hang) {
  run([] {
    for (int i = 0; i < 30; ++i) {
      auto [client, server] = connect_pair();
      fiber reader = spawn([&server = server] {
        EXPECT_EQ(read_text(server), "x");
        EXPECT_EQ(read_text(server), "");
      });
      if (i % 2) settle();
      client.write_all(bytes("x"));
      client.close();
      reader.join();
    }
  });
}

TEST_P(tcp_test, data_that_follows_a_short_read_is_seen) {
  run([] {
    auto [client, server] = connect_pair();
    fiber writer = spawn([&client = client] {
      for (int i = 0; i < 300; ++i) {
        client.write_all(bytes("abc"));
        if (i % 3 == 0) this_fiber::yield();
      }
      client.shutdown_write();
    });
    std::string all;
    for (;;) {
      const auto text = read_text(server, 64);
      if (text.empty()) break;
      all += text;
    }
    writer.join();
    EXPECT_EQ(all.size(), 900u);
  });
}

TEST_P(tcp_test, big_transfers_are_written_in_parts_and_arrive_whole) {
  run([] {
    auto [client, server] = connect_pair();
    std::vector<std::byte> data(3 << 20);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
    fiber writer = spawn([&, &client = client] {
      client.write_all(data);
      client.shutdown_write();
    });
    std::vector<std::byte> buffer(50'000);
    std::size_t at = 0;
    while (auto n = server.read_some(buffer)) {
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(buffer[i], pattern(at + i)) << at + i;
      at += n;
    }
    EXPECT_EQ(at, data.size());
    writer.join();
  });
}

TEST_P(tcp_test, one_fiber_may_read_while_another_writes) {
  run([] {
    auto [client, server] = connect_pair();
    const std::vector<std::byte> data(1 << 20, std::byte{9});
    const auto drain = [&](tcp_stream& s) {
      std::vector<std::byte> buffer(data.size());
      s.read_exactly(buffer);
      EXPECT_EQ(buffer, data);
    };
    scope s;
    s.go([&, &c = client] { c.write_all(data); });
    s.go([&, &c = client] { drain(c); });
    s.go([&, &c = server] { c.write_all(data); });
    s.go([&, &c = server] { drain(c); });
    s.join();
  });
}

TEST_P(tcp_test, read_exactly_tells_a_premature_end) {
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

TEST_P(tcp_test, an_empty_buffer_reads_and_writes_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all({});
    client.write_all(bytes("x"));
    EXPECT_EQ(server.read_some({}), 0u);
    EXPECT_EQ(read_text(server), "x");
  });
}

TEST_P(tcp_test, timeouts_and_deadlines_are_timed_out) {
  run([] {
    auto [client, server] = connect_pair();
    const auto start = std::chrono::steady_clock::now();
    server.set_timeout(3ms);
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 3ms);
    EXPECT_EQ(code_of([&server = server] { server.wait_readable(); }), std::errc::timed_out);
    client.write_all(bytes("a"));
    EXPECT_EQ(read_text(server), "a");  // A timeout concerns one operation.
    server.set_timeout({});
    server.set_deadline(start);
    client.write_all(bytes("b"));
    // A deadline that has passed refuses also what would not have to wait.
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    EXPECT_EQ(code_of([&server = server] { server.write_all(bytes("x")); }), std::errc::timed_out);
    server.set_deadline(std::chrono::steady_clock::now() + hang_guard);
    EXPECT_EQ(read_text(server), "b");
    server.set_deadline(std::chrono::steady_clock::now() + 3ms);
    EXPECT_EQ(code_of([&server = server] { read_text(server); }), std::errc::timed_out);
    server.clear_deadline();
    client.write_all(bytes("c"));
    EXPECT_EQ(read_text(server), "c");
  });
}

TEST_P(tcp_test, accept_and_writing_time_out_too) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    l.set_timeout(2ms);
    EXPECT_EQ(code_of([&] { l.accept(); }), std::errc::timed_out);
    auto [client, server] = connect_pair();
    EXPECT_GT(fill(client), 0u);
    client.set_timeout(2ms);
    EXPECT_EQ(code_of([&client = client] { client.wait_writable(); }), std::errc::timed_out);
    EXPECT_EQ(code_of([&client = client] { client.write_some(bytes("x")); }), std::errc::timed_out);
  });
}

TEST_P(tcp_test, a_write_that_stops_in_the_middle_makes_the_stream_unusable) {
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

TEST_P(tcp_test, a_write_that_has_not_begun_may_be_repeated) {
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

TEST_P(tcp_test, writing_to_a_peer_that_is_gone_is_an_error_and_no_signal) {
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

TEST_P(tcp_test, a_reset_is_reported) {
  run([] {
    auto [client, server] = connect_pair();
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(client.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    fiber reader =
        spawn([&server = server] { EXPECT_EQ(code_of([&] { read_text(server); }), std::errc::connection_reset); });
    settle();
    client.close();
    reader.join();
  });
}

TEST_P(tcp_test, closing_wakes_those_who_wait) {
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

TEST_P(tcp_test, connecting_to_nobody_is_refused) {
  run([] {
    std::uint16_t port;
    {
      auto l = tcp_listener::bind("127.0.0.1:0");
      port = l.local_port();
    }
    const auto address = "127.0.0.1:" + std::to_string(port);
    EXPECT_EQ(code_of([&] { tcp_stream::connect(address); }), std::errc::connection_refused);
    std::error_code error;
    const auto s = tcp_stream::connect(address, 0ns, error);
    EXPECT_EQ(error, std::errc::connection_refused);
    EXPECT_FALSE(s.is_open());
  });
}

TEST_P(tcp_test, an_address_in_use_is_told) {
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

TEST_P(tcp_test, addresses_that_cannot_be_read_are_invalid) {
  run([] {
    for (const char* text : {"", "localhost:1", "127.0.0.1", "127.0.0.1:70000", "::1:5"}) {
      EXPECT_EQ(code_of([&] { tcp_stream::connect(text); }), std::errc::invalid_argument);
      EXPECT_EQ(code_of([&] { tcp_listener::bind(text); }), std::errc::invalid_argument);
    }
  });
}

TEST_P(tcp_test, knows_its_addresses) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    EXPECT_EQ(l.local_address(), here(l));
    auto client = tcp_stream::connect(here(l));
    auto server = l.accept();
    EXPECT_EQ(client.remote_address(), here(l));
    EXPECT_EQ(client.local_address(), server.remote_address());
    EXPECT_EQ(tcp_stream().local_address(), "");
    EXPECT_EQ(tcp_listener().local_port(), 0);
  });
}

TEST_P(tcp_test, speaks_ipv6) {
  run([] {
    try {
      auto [client, server] = connect_pair("[::1]");
      client.write_all(bytes("six"));
      EXPECT_EQ(read_text(server), "six");
      EXPECT_EQ(server.local_address().substr(0, 6), "[::1]:");
    } catch (const std::system_error& e) {
      GTEST_SKIP() << "this machine has no IPv6: " << e.what();
    }
  });
}

TEST_P(tcp_test, waiting_for_readability_takes_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    std::atomic<bool> readable{false};
    fiber reader = spawn([&, &server = server] {
      server.wait_readable();
      readable = true;
      EXPECT_EQ(read_text(server), "ping");
      server.wait_readable();  // It may return early: then the read waits.
      EXPECT_EQ(read_text(server), "");
    });
    settle();
    EXPECT_FALSE(readable);
    client.write_all(bytes("ping"));
    settle();
    client.close();
    reader.join();
  });
}

TEST_P(tcp_test, waiting_for_writability_ends_when_there_is_room) {
  run([] {
    auto [client, server] = connect_pair();
    fill(client);
    std::atomic<bool> writable{false};
    fiber writer = spawn([&, &client = client] {
      client.wait_writable();
      writable = true;
      client.shutdown_write();
    });
    settle();
    EXPECT_FALSE(writable);
    std::vector<std::byte> buffer(1 << 20);
    while (server.read_some(buffer)) {
    }
    writer.join();
    EXPECT_TRUE(writable);
  });
}

TEST_P(tcp_test, several_fibers_may_accept_from_one_listener) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0", {.backlog = 64});
    std::atomic<int> accepted{0};
    scope acceptors;
    for (int i = 0; i < 4; ++i)
      acceptors.go([&] {
        for (;;) {
          auto c = l.accept();
          ++accepted;
          c.write_all(bytes("hi"));
        }
      });
    {
      scope clients;
      for (int i = 0; i < 40; ++i)
        clients.go([&] {
          auto c = tcp_stream::connect(here(l));
          EXPECT_EQ(read_text(c), "hi");
        });
      clients.join();
    }
    acceptors.cancel();
    acceptors.join();
    EXPECT_EQ(accepted, 40);
  });
}

TEST_P(tcp_test, cancellation_is_reported_by_the_error_code_overloads) {
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
    EXPECT_EQ(read_text(client), "ok");
  });
}

TEST_P(tcp_test, a_stream_may_be_passed_on_between_fibers_and_runtimes) {
  run([] {
    auto [client, server] = connect_pair();
    fiber first = spawn([&server = server] { EXPECT_EQ(read_text(server), "one"); });
    settle();
    client.write_all(bytes("one"));
    first.join();
    runtime other({.workers = 1});
    fiber second = other.spawn([s = std::move(server)]() mutable {
      EXPECT_EQ(read_text(s), "two");
      s.write_all(bytes("three"));
    });
    settle();
    client.write_all(bytes("two"));
    EXPECT_EQ(read_text(client), "three");
    second.join();
    EXPECT_FALSE(server.is_open());
  });
}

TEST_P(tcp_test, adopts_a_connected_descriptor) {
  run([] {
    auto [client, server] = connect_pair();
    const int copy = ::dup(server.native_handle());
    server.close();
    auto adopted = tcp_stream::adopt(copy);
    client.write_all(bytes("x"));
    EXPECT_EQ(read_text(adopted), "x");
    EXPECT_EQ(code_of([] { tcp_stream::adopt(-1); }), std::errc::bad_file_descriptor);
  });
}

TEST(tcp, everything_works_on_plain_threads) {
  const auto before = open_descriptors();
  {
    auto l = tcp_listener::bind("127.0.0.1:0");
    std::thread server([&] {
      auto c = l.accept();
      std::vector<std::byte> buffer(100'000);
      while (auto n = c.read_some(buffer)) c.write_all(std::span(buffer).first(n));
    });
    auto c = tcp_stream::connect(here(l), 10s);
    const std::vector<std::byte> data(1 << 20, std::byte{5});
    std::thread writer([&] {
      c.write_all(data);
      c.shutdown_write();
    });
    std::vector<std::byte> back(data.size());
    c.read_exactly(back);
    EXPECT_EQ(back, data);
    c.set_timeout(2ms);
    c.wait_readable();  // The end.
    EXPECT_EQ(read_text(c), "");
    writer.join();
    server.join();
    l.set_timeout(2ms);
    EXPECT_EQ(code_of([&] { l.accept(); }), std::errc::timed_out);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(tcp, a_thread_and_a_fiber_talk_to_each_other) {
  with_workers(2, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    std::thread t([address = here(l)] {
      auto c = tcp_stream::connect(address);
      for (int i = 0; i < 50; ++i) {
        c.write_all(bytes("tick"));
        EXPECT_EQ(read_text(c), "tock");
      }
    });
    auto c = l.accept();
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(read_text(c), "tick");
      c.write_all(bytes("tock"));
    }
    EXPECT_EQ(read_text(c), "");
    t.join();
  });
}

TEST(tcp, running_out_of_descriptors_is_an_error_and_the_listener_goes_on) {
  with_workers(1, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    auto waiting = tcp_stream::connect(here(l));
    rlimit before;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit tight = before;
    tight.rlim_cur = 3;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    // No exceptions here: UndefinedBehaviorSanitizer looks into them by means of a pipe.
    std::error_code refused, no_socket;
    l.accept(refused);
    tcp_stream::connect(here(l), {}, no_socket);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(refused, std::errc::too_many_files_open);
    EXPECT_EQ(no_socket, std::errc::too_many_files_open);
    EXPECT_TRUE(l.accept().is_open());
  });
}

}  // namespace
}  // namespace thrum::net
