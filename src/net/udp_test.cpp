// What udp_socket.hpp, unix_datagram.hpp and datagram_socket.hpp promise. Cancellation of calls that wait:
// semantics_cancellation_test.cpp.
#include <thrum/net/endpoint.hpp>
#include <thrum/net/options.hpp>
#include <thrum/net/udp_socket.hpp>
#include <thrum/net/unix_datagram.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "file_support.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class udp_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, udp_test, worker_counts, count_name);
class unix_datagram_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, unix_datagram_test, worker_counts, count_name);

std::string receive_text(datagram_socket& s) {
  std::array<char, 2000> buffer;
  const auto got = s.receive(std::as_writable_bytes(std::span(buffer)));
  EXPECT_FALSE(got.truncated);
  return {buffer.data(), got.size};
}

bool has_ipv6() {
  std::error_code error;
  return udp_socket::bind("[::1]:0", {}, error).is_open();
}

TEST(endpoint_test, is_a_value_that_knows_its_text) {
  for (const char* text : {"127.0.0.1:80", "[::1]:5353", "0.0.0.0:0"}) EXPECT_EQ(endpoint(text).to_string(), text);
  EXPECT_EQ(endpoint(":7").to_string(), "0.0.0.0:7");
  EXPECT_EQ(endpoint("10.0.0.1:99").port(), 99);
  EXPECT_EQ(endpoint("10.0.0.1:99"), endpoint("10.0.0.1:99"));
  EXPECT_NE(endpoint("10.0.0.1:99"), endpoint("10.0.0.1:98"));
  EXPECT_NE(endpoint("0.0.0.0:1"), endpoint("[::]:1"));
  EXPECT_EQ(endpoint(), endpoint());
  EXPECT_EQ(endpoint().to_string(), "");
  EXPECT_EQ(endpoint().port(), 0);
  EXPECT_EQ(code_of([] { endpoint("localhost:1"); }), std::errc::invalid_argument);
}

TEST_P(udp_test, a_question_is_answered_to_where_it_came_from) {
  run([] {
    for (std::string_view at : {"127.0.0.1:0", "[::1]:0"}) {
      if (at.front() == '[' && !has_ipv6()) continue;
      auto server = udp_socket::bind(at);
      EXPECT_NE(server.local_port(), 0);
      fiber f = spawn([&] {
        std::array<std::byte, 64> buffer;
        endpoint from;
        const auto got = server.receive_from(buffer, from);
        server.send_to(std::span(buffer).first(got.size), from);
      });
      auto client = udp_socket::connect(server.local_address());
      EXPECT_EQ(client.remote_address(), server.local_address());
      client.send(bytes("ping"));
      EXPECT_EQ(receive_text(client), "ping");
      f.join();
    }
  });
}

TEST_P(udp_test, datagrams_keep_their_bounds_and_may_be_empty) {
  run([] {
    auto in = udp_socket::bind("127.0.0.1:0");
    auto out = udp_socket::connect(in.local_address());
    out.send(bytes("one"));
    out.send({});
    out.send(bytes("three"));
    EXPECT_EQ(receive_text(in), "one");
    EXPECT_EQ(receive_text(in), "");
    EXPECT_EQ(receive_text(in), "three");
  });
}

TEST_P(udp_test, what_does_not_fit_is_cut_off_and_that_is_told) {
  run([] {
    auto in = udp_socket::bind("127.0.0.1:0");
    auto out = udp_socket::connect(in.local_address());
    for (int i = 0; i < 3; ++i) out.send(bytes("0123456789"));
    std::array<std::byte, 4> small;
    endpoint from;
    auto got = in.receive_from(small, from);
    EXPECT_TRUE(got.truncated && got.size == 4);
    EXPECT_EQ(from.to_string(), out.local_address());
    got = in.receive({});
    EXPECT_TRUE(got.truncated && got.size == 0);
    EXPECT_EQ(receive_text(in), "0123456789");
    const std::vector<std::byte> much(70000);
    EXPECT_EQ(code_of([&] { out.send(much); }), std::errc::message_size);
  });
}

TEST_P(udp_test, nobody_there_is_told_and_the_socket_goes_on) {
  run([] {
    std::string nowhere;
    {
      auto gone = udp_socket::bind("127.0.0.1:0");
      nowhere = gone.local_address();
    }
    auto s = udp_socket::connect(nowhere);
    for (int i = 0; i < 3; ++i) {
      fiber f = spawn([&] { EXPECT_EQ(code_of([&] { receive_text(s); }), std::errc::connection_refused); });
      settle();
      s.send(bytes("x"));
      f.join();
    }
    auto there = udp_socket::bind(nowhere);
    s.set_timeout(2ms);
    std::error_code error;
    s.receive({}, error);
    EXPECT_EQ(error, std::errc::timed_out);  // It waits, as if nothing had happened.
    s.set_timeout({});
    fiber f = spawn([&] { EXPECT_EQ(receive_text(s), "hello"); });
    settle();
    there.send_to(bytes("hello"), endpoint(s.local_address()));
    f.join();
  });
}

TEST_P(udp_test, one_receives_while_another_sends) {
  run([] {
    auto a = udp_socket::bind("127.0.0.1:0");
    auto b = udp_socket::connect(a.local_address());
    a.set_peer(endpoint(b.local_address()));
    scope s;
    for (auto* end : {&a, &b}) {
      s.go([end] {
        for (int i = 0; i < 50; ++i) end->send(bytes("x"));
      });
      s.go([end] {
        for (int i = 0; i < 50; ++i) EXPECT_EQ(receive_text(*end), "x");
      });
    }
    s.join();
  });
}

TEST_P(udp_test, deadlines_cancellation_and_closing_end_a_wait) {
  run([] {
    auto s = udp_socket::bind("127.0.0.1:0");
    s.set_timeout(2ms);
    EXPECT_EQ(code_of([&] { receive_text(s); }), std::errc::timed_out);
    s.set_timeout({});
    fiber f = spawn([&] { EXPECT_THROW(receive_text(s), cancelled); });
    settle();
    f.request_stop();
    f.join();
    f = spawn([&] { EXPECT_EQ(code_of([&] { receive_text(s); }), std::errc::bad_file_descriptor); });
    until_the_others_wait();
    s.close();
    f.join();
  });
}

// It never waits for long on the loopback interface: the deadline and the cancelled scope are noticed nevertheless.
TEST_P(udp_test, sending_is_a_cancellation_point) {
  run([] {
    auto s = udp_socket::bind("127.0.0.1:0");
    const endpoint here(s.local_address());
    scope stopped;
    stopped.cancel();
    EXPECT_THROW(s.send_to(bytes("x"), here), cancelled);
    std::error_code error;
    s.send_to(bytes("x"), here, error);
    EXPECT_EQ(error, std::errc::operation_canceled);
    s.receive({}, error);
    EXPECT_EQ(error, std::errc::operation_canceled);
    stopped.join();
    s.set_deadline(clock::now());
    EXPECT_EQ(code_of([&] { s.send_to(bytes("x"), here); }), std::errc::timed_out);
  });
}

TEST_P(udp_test, errors_are_told) {
  run([] {
    auto s = udp_socket::bind("127.0.0.1:0");
    EXPECT_EQ(code_of([&] { udp_socket::bind(s.local_address()); }), std::errc::address_in_use);
    EXPECT_EQ(code_of([] { udp_socket::bind("here"); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([] { udp_socket::connect("there"); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&] { s.send(bytes("x")); }), std::errc::destination_address_required);
    EXPECT_EQ(code_of([] { udp_socket().send(bytes("x")); }), std::errc::bad_file_descriptor);
    auto first = udp_socket::bind("127.0.0.1:0", {.reuse_port = true});
    EXPECT_TRUE(udp_socket::bind(first.local_address(), {.reuse_port = true}).is_open());
    EXPECT_EQ(udp_socket().local_port(), 0);
  });
}

// What arrives within a while.
std::vector<std::string> texts_from(udp_socket& s) {
  std::vector<std::string> all;
  s.set_timeout(20ms);
  std::array<char, 16> buffer;
  for (std::error_code error;;) {
    const auto got = s.receive(std::as_writable_bytes(std::span(buffer)), error);
    if (error) break;
    all.emplace_back(buffer.data(), got.size);
  }
  s.set_timeout({});
  return all;
}

TEST_P(udp_test, a_full_buffer_takes_no_more) {
  run([] {
    auto in = udp_socket::bind("127.0.0.1:0");
    in.set_option(receive_buffer_size(10'000));
    auto out = udp_socket::connect(in.local_address());
    for (int i = 0; i < 1000; ++i) out.send(bytes("x"));
    settle();
    const auto taken = texts_from(in).size();
    EXPECT_GT(taken, 0u);
    EXPECT_LT(taken, 1000u);
    out.send(bytes("y"));
    EXPECT_EQ(receive_text(in), "y");
  });
}

TEST_P(udp_test, those_who_share_a_port_have_each_their_senders) {
  run([] {
    auto one = udp_socket::bind("127.0.0.1:0", {.reuse_port = true});
    auto two = udp_socket::bind(one.local_address(), {.reuse_port = true});
    std::vector<udp_socket> senders;
    for (int i = 0; i < 8; ++i) senders.push_back(udp_socket::connect(one.local_address()));
    for (int round = 0; round < 3; ++round)
      for (std::size_t i = 0; i < senders.size(); ++i) senders[i].send(bytes(std::to_string(i)));
    std::map<std::string, int> times;
    for (auto* s : {&one, &two}) {
      const auto got = texts_from(*s);
      for (const auto& text : got) times[text] += std::count(got.begin(), got.end(), text) == 3;
    }
    EXPECT_EQ(times.size(), 8u);
    for (const auto& [text, count] : times) EXPECT_EQ(count, 3) << text;
  });
}

TEST_P(udp_test, of_those_who_have_an_address_the_last_one_receives) {
  run([] {
    auto first = udp_socket::bind("127.0.0.1:0", {.reuse_address = true});
    auto last = udp_socket::bind(first.local_address(), {.reuse_address = true});
    EXPECT_EQ(code_of([&] { udp_socket::bind("0.0.0.0:" + std::to_string(first.local_port())); }),
              std::errc::address_in_use);
    auto out = udp_socket::connect(first.local_address());
    out.send(bytes("x"));
    EXPECT_EQ(receive_text(last), "x");
    EXPECT_TRUE(texts_from(first).empty());
    auto own = udp_socket::bind(first.local_address(), {.reuse_address = true});
    own.set_peer(endpoint(out.local_address()));
    auto another = udp_socket::bind(first.local_address(), {.reuse_address = true});
    out.send(bytes("y"));
    EXPECT_EQ(receive_text(own), "y");  // Whoever has the sender as its peer comes first.
    EXPECT_TRUE(texts_from(another).empty());
  });
}

TEST_P(udp_test, tasks_talk_to_fibers) {
  run([] {
    auto server = udp_socket::bind("127.0.0.1:0");
    const auto echo = [](udp_socket& s) -> task<> {
      std::array<std::byte, 64> buffer;
      endpoint from;
      auto got = co_await s.async_receive_from(buffer, from);
      co_await s.async_send_to(std::span(buffer).first(got.size), from);
      std::error_code error;
      got = co_await s.async_receive_from(buffer, from, error);
      EXPECT_FALSE(error);
      co_await s.async_send_to(std::span(buffer).first(got.size), from, error);
      EXPECT_FALSE(error);
      s.set_timeout(1ms);
      (void)co_await s.async_receive(buffer, error);
      EXPECT_EQ(error, std::errc::timed_out);
      co_await s.async_send(buffer, error);
      EXPECT_EQ(error, std::errc::destination_address_required);
    };
    auto t = spawn(echo(server));
    auto client = udp_socket::connect(server.local_address());
    for (const char* text : {"first", "second"}) {
      client.send(std::as_bytes(std::span(text, std::strlen(text))));
      EXPECT_EQ(receive_text(client), text);
    }
    t.join();
  });
}

TEST(udp_threads, plain_threads_use_them_too) {
  auto server = udp_socket::bind("127.0.0.1:0");
  auto client = udp_socket::connect(server.local_address());
  std::thread t([&] { EXPECT_EQ(receive_text(server), "x"); });
  client.send(bytes("x"));
  t.join();
}

std::string own_name(const char* what) { return std::string("@thrum_") + what + std::to_string(::getpid()); }

TEST_P(unix_datagram_test, names_answer_each_other) {
  run([] {
    const scratch_directory d;
    const auto path = d / "s";
    {
      auto server = unix_datagram::bind(path, {.replace_stale = true});
      EXPECT_EQ(code_of([&] { unix_datagram::bind(path, {.replace_stale = true}); }), std::errc::address_in_use);
      auto client = unix_datagram::bind(own_name("client"));
      client.send_to(bytes("ping"), path);
      std::array<std::byte, 2> buffer;
      std::string from;
      const auto got = server.receive_from(buffer, from);
      EXPECT_TRUE(got.truncated && got.size == 2);
      EXPECT_EQ(from, client.local_address());
      server.set_peer(from);
      server.send(bytes("pong"));
      EXPECT_EQ(receive_text(client), "pong");
    }
    EXPECT_TRUE(list_directory(d.path()).empty());
    EXPECT_EQ(code_of([&] { unix_datagram::open().send_to({}, path); }), std::errc::no_such_file_or_directory);
  });
}

TEST_P(unix_datagram_test, a_sender_waits_for_room_and_none_is_lost) {
  run([] {
    for (const bool connected : {true, false}) {
      auto in = unix_datagram::bind(own_name("queue"));
      const auto name = in.local_address();
      fiber sender = spawn([&] {
        auto out = unix_datagram::open();
        if (connected) out.set_peer(name);
        for (int i = 0; i < 300; ++i) {
          const auto text = std::to_string(i);
          connected ? out.send(bytes(text)) : out.send_to(bytes(text), name);
        }
      });
      settle();
      for (int i = 0; i < 300; ++i) EXPECT_EQ(receive_text(in), std::to_string(i));
      sender.join();
    }
  });
}

TEST_P(unix_datagram_test, a_pair_is_connected) {
  run([] {
    auto [a, b] = unix_datagram::pair();
    fiber f = spawn([&, &b = b] { EXPECT_EQ(receive_text(b), "x"); });
    a.send(bytes("x"));
    f.join();
    b.close();
    EXPECT_EQ(code_of([&, &a = a] { a.send(bytes("x")); }), std::errc::connection_refused);
  });
}

TEST_P(unix_datagram_test, who_has_a_peer_hears_nobody_else) {
  run([] {
    auto a = unix_datagram::bind(own_name("a")), b = unix_datagram::bind(own_name("b")), c = unix_datagram::open();
    a.set_peer(b.local_address());
    EXPECT_EQ(code_of([&] { c.send_to(bytes("x"), a.local_address()); }), std::errc::operation_not_permitted);
    EXPECT_EQ(code_of([&] { c.set_peer(a.local_address()); }), std::errc::operation_not_permitted);
    b.set_peer(a.local_address());
    b.close();
    EXPECT_EQ(code_of([&] { a.send(bytes("x")); }), std::errc::connection_refused);
    EXPECT_EQ(code_of([&] { a.send(bytes("x")); }), std::errc::not_connected);
  });
}

TEST_P(unix_datagram_test, a_new_peer_ends_the_wait_for_room_at_the_one_before) {
  run([] {
    auto full = unix_datagram::bind(own_name("full")), next = unix_datagram::bind(own_name("next"));
    auto out = unix_datagram::open();
    out.set_peer(full.local_address());
    out.set_timeout(5ms);
    std::error_code error;
    while (!error) out.send({}, error);
    EXPECT_EQ(error, std::errc::timed_out);
    out.set_timeout({});
    fiber f = spawn([&] { out.send(bytes("x")); });
    settle();
    out.set_peer(next.local_address());
    EXPECT_EQ(receive_text(next), "x");
    f.join();
  });
}

TEST_P(unix_datagram_test, closing_ends_the_wait_for_room) {
  run([] {
    auto in = unix_datagram::bind(own_name("full"));
    auto out = unix_datagram::open();
    out.set_timeout(5ms);
    std::error_code error;
    while (!error) out.send_to({}, in.local_address(), error);
    EXPECT_EQ(error, std::errc::timed_out);
    out.set_timeout({});
    fiber f = spawn(
        [&] { EXPECT_EQ(code_of([&] { out.send_to({}, in.local_address()); }), std::errc::bad_file_descriptor); });
    until_the_others_wait();
    out.close();
    f.join();
  });
}

}  // namespace
}  // namespace thrum::net
