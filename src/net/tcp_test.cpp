// What the headers in net/ promise of listeners and streams, as long as nothing fails: tcp_errors_test.cpp has the
// rest.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <array>
#include <atomic>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class tcp_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, tcp_test, worker_counts, count_name);

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
    EXPECT_EQ(read_whole(server, 4), "last");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(read_text(server), "");
  });
}

TEST_P(tcp_test, a_half_closed_connection_still_carries_the_other_direction) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all(bytes("question"));
    client.shutdown_write();
    EXPECT_EQ(read_whole(server, 8), "question");
    EXPECT_EQ(read_text(server), "");
    server.write_all(bytes("answer"));
    server.close();
    EXPECT_EQ(read_whole(client, 6), "answer");
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

TEST_P(tcp_test, an_empty_buffer_reads_and_writes_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all({});
    client.write_all(bytes("x"));
    EXPECT_EQ(server.read_some({}), 0u);
    EXPECT_EQ(read_text(server), "x");
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
  std::error_code error;
  tcp_listener::bind("[::1]:0", {}, error);
  if (error == std::errc::address_not_available || error == std::errc::address_family_not_supported)
    GTEST_SKIP() << "this machine has no address ::1: " << error.message();
  run([] {
    auto [client, server] = connect_pair("[::1]");
    client.write_all(bytes("six"));
    EXPECT_EQ(read_whole(server, 3), "six");
    EXPECT_EQ(server.local_address().substr(0, 6), "[::1]:");
  });
}

TEST_P(tcp_test, waiting_for_readability_takes_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    std::atomic<bool> readable{false};
    fiber reader = spawn([&, &server = server] {
      server.wait_readable();
      readable = true;
      EXPECT_EQ(read_whole(server, 4), "ping");
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
          EXPECT_EQ(read_whole(c, 2), "hi");
        });
      clients.join();
    }
    acceptors.cancel();
    acceptors.join();
    EXPECT_EQ(accepted, 40);
  });
}

TEST_P(tcp_test, a_stream_may_be_passed_on_between_fibers_and_runtimes) {
  run([] {
    auto [client, server] = connect_pair();
    fiber first = spawn([&server = server] { EXPECT_EQ(read_whole(server, 3), "one"); });
    settle();
    client.write_all(bytes("one"));
    first.join();
    runtime other({.workers = 1});
    fiber second = other.spawn([s = std::move(server)]() mutable {
      EXPECT_EQ(read_whole(s, 3), "two");
      s.write_all(bytes("three"));
    });
    settle();
    client.write_all(bytes("two"));
    EXPECT_EQ(read_whole(client, 5), "three");
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

// The watch that a runtime has made must not mislead a thread once that runtime has ended, nor the next runtime; and
// two that live take turns.
TEST(tcp, a_connection_outlives_the_runtimes_that_waited_for_it) {
  auto [client, server] = connect_pair();
  const auto wait_and_exchange = [&, &client = client, &server = server] {
    std::thread later([&] {
      std::this_thread::sleep_for(a_moment);
      client.write_all(bytes("ping"));
    });
    EXPECT_EQ(read_whole(server, 4), "ping");
    later.join();
  };
  for (int i = 0; i < 3; ++i) {
    run({.workers = 1}, [&] { wait_and_exchange(); });
    wait_and_exchange();
    runtime one({.workers = 1}), other({.workers = 1});
    for (auto* r : {&one, &other, &one, &other}) r->run([&] { wait_and_exchange(); });
    wait_and_exchange();
  }
}

TEST(tcp, a_thread_and_a_fiber_talk_to_each_other) {
  with_workers(2, [] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    std::thread t([address = here(l)] {
      auto c = tcp_stream::connect(address);
      for (int i = 0; i < 50; ++i) {
        c.write_all(bytes("tick"));
        EXPECT_EQ(read_whole(c, 4), "tock");
      }
    });
    auto c = l.accept();
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(read_whole(c, 4), "tick");
      c.write_all(bytes("tock"));
    }
    EXPECT_EQ(read_text(c), "");
    t.join();
  });
}

// Every so often a fiber that never waits serves the poller, which then tells of the very streams that are selected.
TEST_P(tcp_test, threads_feed_a_fiber_that_selects_without_waiting) {
  run([] {
    auto a = connect_pair(), b = connect_pair();
    const auto feed = [](tcp_stream& s) {
      std::error_code ended;
      const std::array<std::byte, 64> some{};
      while (!ended) s.write_some(some, ended);
    };
    std::thread first([&] { feed(a.client); }), second([&] { feed(b.client); });
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 20'000; ++i)
      select(a.server.on_readable([&] { a.server.read_some(buffer); }),
             b.server.on_readable([&] { b.server.read_some(buffer); }));
    a.server.close();
    b.server.close();
    first.join();
    second.join();
  });
}

}  // namespace
}  // namespace thrum::net
