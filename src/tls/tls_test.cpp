// What the headers promise of TLS: greeting, trust, bytes, ends, cancellation; and strangers at the other end.
#include <thrum/net/tls_stream.hpp>

#include <array>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support.hpp"
#include "tcp_support.hpp"
#include "tls/certificates.hpp"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// OpenSSL is not instrumented: its atomics order what ThreadSanitizer sees of it through free() and memcpy().
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libcrypto.so\ncalled_from_lib:libssl.so\n";
}
#endif
#endif

namespace thrum::net {
namespace {

using namespace test;

certificates& issued() {
  static certificates all;
  return all;
}
const tls_certificate& local_certificate() {
  static const auto c = issued().issue("localhost", "DNS:localhost,IP:127.0.0.1");
  return c;
}
tls_context server_context() { return tls_context::server({.certificate = local_certificate()}); }
tls_context client_context() { return tls_context::client({.authorities_file = issued().authority_file()}); }

class tls_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, tls_test, worker_counts, count_name);

struct ends {
  tls_stream client, server;
  std::error_code client_error, server_error;
};

// Both sides' handshakes, the server's in a fiber of its own.
ends greet(const tls_context& server, const tls_context& client, const std::string& host = "localhost",
           const tls_connect_options& options = {}) {
  auto tcp = connect_pair();
  ends e;
  fiber other = spawn(
      [&] { e.server = tls_stream::accept(server, std::move(tcp.server), std::chrono::seconds(60), e.server_error); });
  e.client = tls_stream::connect(client, std::move(tcp.client), host, options, e.client_error);
  other.join();
  return e;
}
ends greet() { return greet(server_context(), client_context()); }

template <class Stream>
std::string read_line(Stream& s, std::size_t size) {
  std::string text(size, '\0');
  s.read_exactly(std::as_writable_bytes(std::span(text)));
  return text;
}

std::vector<std::byte> noise(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 253);
  return bytes;
}

TEST_P(tls_test, carries_bytes_both_ways) {
  run([] {
    auto [client, server, ce, se] = greet();
    ASSERT_FALSE(ce) << ce.message();
    ASSERT_FALSE(se) << se.message();
    client.write_all(bytes("question"));
    EXPECT_EQ(read_line(server, 8), "question");
    server.write_all(bytes("answer"));
    EXPECT_EQ(read_line(client, 6), "answer");
    EXPECT_EQ(client.version(), "TLSv1.3");
    EXPECT_EQ(client.peer_name(), "localhost");
    EXPECT_EQ(server.peer_name(), "");
    EXPECT_EQ(server.server_name(), "localhost");
    EXPECT_EQ(client.protocol(), "");
  });
}

TEST_P(tls_test, reads_and_writes_at_once) {
  run([] {
    auto e = greet();
    ASSERT_FALSE(e.client_error || e.server_error);
    const auto much = noise(under_tsan ? 200'000 : 1'000'000);
    const auto exchange = [&](tls_stream& s) {
      fiber writer = spawn([&] { s.write_all(much); });
      std::vector<std::byte> got(much.size());
      s.read_exactly(got);
      EXPECT_EQ(got, much);
      writer.join();
    };
    fiber other = spawn([&] { exchange(e.server); });
    exchange(e.client);
    other.join();
  });
}

TEST_P(tls_test, works_when_bytes_come_one_by_one) {
  run([] {
    auto near = connect_pair(), far = connect_pair();
    const auto forward = [](tcp_stream& from, tcp_stream& to) {
      std::array<std::byte, 1> one;
      std::error_code ignored;
      while (from.read_some(one, ignored) != 0) to.write_all(one, ignored);
      to.shutdown_write(ignored);
    };
    fiber there = spawn([&] { forward(near.server, far.client); });
    fiber back = spawn([&] { forward(far.client, near.server); });
    fiber server = spawn([&] {
      auto s = tls_stream::accept(server_context(), std::move(far.server), 0ns);
      EXPECT_EQ(read_line(s, 5), "small");
      s.write_all(bytes("steps"));
      s.shutdown_write();
    });
    auto c = tls_stream::connect(client_context(), std::move(near.client), "127.0.0.1", {.timeout = 0ns});
    c.write_all(bytes("small"));
    EXPECT_EQ(read_line(c, 5), "steps");
    std::array<std::byte, 10> more;
    EXPECT_EQ(c.read_some(more), 0u);
    c.close();
    server.join();
    there.join();
    back.join();
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Trust.

TEST_P(tls_test, refuses_who_is_vouched_for_by_nobody) {
  run([] {
    const auto alone = issued().issue_alone("alone", "DNS:localhost");
    const auto e = greet(tls_context::server({.certificate = alone}), client_context());
    EXPECT_EQ(e.client_error.category(), certificate_category());
    EXPECT_NE(e.client_error.message().find("self-signed certificate"), std::string::npos) << e.client_error.message();
    EXPECT_FALSE(e.client.is_open());
    // Whose greeting arrives in pieces is refused before the last, and learns it only if no reset overtakes the news.
    if (simulation_wanted() && e.server_error == std::errc::connection_reset) return;
    EXPECT_EQ(e.server_error.category(), tls_category());
    EXPECT_NE(e.server_error.message().find("unknown ca"), std::string::npos) << e.server_error.message();
  });
}

TEST_P(tls_test, refuses_a_certificate_for_another_name) {
  run([] {
    for (const auto* host : {"www.example.org", "127.0.0.2"}) {
      const auto e = greet(server_context(), client_context(), host);
      EXPECT_EQ(e.client_error.category(), certificate_category());
      EXPECT_NE(e.client_error.message().find("mismatch"), std::string::npos) << e.client_error.message();
    }
  });
}

TEST_P(tls_test, trusts_nobody_but_the_system_by_default) {
  run([] {
    EXPECT_EQ(greet(server_context(), tls_context::client()).client_error.category(), certificate_category());
    const auto blind = greet(server_context(), tls_context::client({.verify = false}));
    EXPECT_FALSE(blind.client_error) << blind.client_error.message();
  });
}

TEST_P(tls_test, asks_clients_for_certificates) {
  run([] {
    const auto server =
        tls_context::server({.certificate = local_certificate(), .client_authorities_file = issued().authority_file()});
    const auto without = greet(server, client_context());
    EXPECT_NE(without.server_error.message().find("peer did not return a certificate"), std::string::npos)
        << without.server_error.message();
    const auto known = tls_context::client(
        {.authorities_file = issued().authority_file(), .certificate = issued().issue("alice", "DNS:alice")});
    const auto with = greet(server, known);
    ASSERT_FALSE(with.server_error) << with.server_error.message();
    EXPECT_EQ(with.server.peer_name(), "alice");
  });
}

TEST_P(tls_test, chooses_the_certificate_by_the_name_that_is_asked_for) {
  run([] {
    const auto server = tls_context::server(
        {.certificate = local_certificate(), .by_name = {{"b.example", issued().issue("b", "DNS:b.example")}}});
    EXPECT_EQ(greet(server, client_context()).client.peer_name(), "localhost");
    EXPECT_EQ(greet(server, client_context(), "b.example").client.peer_name(), "b");
  });
}

TEST_P(tls_test, agrees_on_a_protocol_or_fails) {
  run([] {
    const auto server = tls_context::server({.certificate = local_certificate(), .protocols = {"h2", "http/1.1"}});
    const auto offering = [](std::vector<std::string> protocols) {
      return tls_context::client({.authorities_file = issued().authority_file(), .protocols = std::move(protocols)});
    };
    const auto both = greet(server, offering({"http/1.1", "h2"}));
    EXPECT_EQ(both.client.protocol(), "h2");
    EXPECT_EQ(both.server.protocol(), "h2");
    EXPECT_EQ(greet(server, client_context()).server.protocol(), "");
    const auto none = greet(server, offering({"spdy/1"}));
    EXPECT_NE(none.client_error.message().find("no application protocol"), std::string::npos)
        << none.client_error.message();
  });
}

TEST_P(tls_test, sessions_are_resumed) {
  run([] {
    const auto server = server_context();
    const auto client = client_context();
    const auto talk = [&](const tls_session& session) {
      auto e = greet(server, client, "localhost", {.session = session});
      EXPECT_FALSE(e.client_error || e.server_error);
      e.server.write_all(bytes("x"));
      EXPECT_EQ(read_line(e.client, 1), "x");
      EXPECT_EQ(e.client.resumed(), static_cast<bool>(session));
      EXPECT_EQ(e.server.resumed(), static_cast<bool>(session));
      return e.client.session();
    };
    const auto first = talk({});
    EXPECT_TRUE(first);
    EXPECT_TRUE(talk(first));
  });
}

TEST_P(tls_test, says_which_file_is_of_no_use) {
  run([] {
    const auto message = [](auto make) {
      try {
        make();
      } catch (const std::system_error& e) {
        return std::string(e.what());
      }
      return std::string();
    };
    EXPECT_NE(message([] {
                tls_context::server({.certificate = {"/none.pem", "/none.key"}});
              }).find("/none.pem"),
              std::string::npos);
    EXPECT_NE(message([] {
                const auto other = issued().issue("other", "DNS:other");
                tls_context::server({.certificate = {local_certificate().chain_file, other.key_file}});
              }).find("key values mismatch"),
              std::string::npos);
    EXPECT_NE(message([] { tls_context::client({.authorities_file = "/none"}); }).find("/none"), std::string::npos);
    EXPECT_THROW(tls_context::client({.protocols = {""}}), std::invalid_argument);
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Ends and failures.

TEST_P(tls_test, a_farewell_ends_one_side_only) {
  run([] {
    auto e = greet();
    e.client.write_all(bytes("last"));
    e.client.shutdown_write();
    EXPECT_EQ(read_line(e.server, 4), "last");
    std::array<std::byte, 10> buffer;
    for (int i = 0; i < 2; ++i) EXPECT_EQ(e.server.read_some(buffer), 0u);
    e.server.write_all(bytes("still"));
    EXPECT_EQ(read_line(e.client, 5), "still");
    EXPECT_EQ(code_of([&] { e.client.write_all(bytes("no")); }), std::errc::broken_pipe);
  });
}

TEST_P(tls_test, an_end_without_farewell_is_an_error) {
  run([] {
    auto e = greet();
    e.client.write_all(bytes("cut"));
    e.client.transport().shutdown_write();
    EXPECT_EQ(read_line(e.server, 3), "cut");
    std::array<std::byte, 10> buffer;
    EXPECT_EQ(code_of([&] { e.server.read_some(buffer); }), std::errc::connection_aborted);
  });
}

TEST_P(tls_test, whoever_speaks_no_tls_is_told_in_words) {
  run([] {
    auto tcp = connect_pair();
    tcp.client.write_all(bytes("GET / HTTP/1.1\r\n\r\n"));
    std::error_code error;
    const auto s = tls_stream::accept(server_context(), std::move(tcp.server), std::chrono::seconds(60), error);
    EXPECT_EQ(error.message(), "http request");
    EXPECT_FALSE(s.is_open());
  });
}

TEST_P(tls_test, the_handshake_has_a_deadline) {
  run([] {
    auto tcp = connect_pair();
    EXPECT_EQ(code_of([&] { tls_stream::accept(server_context(), std::move(tcp.server), 5ms); }), std::errc::timed_out);
    auto other = connect_pair();
    EXPECT_EQ(
        code_of([&] { tls_stream::connect(client_context(), std::move(other.client), "localhost", {.timeout = 5ms}); }),
        std::errc::timed_out);
  });
}

TEST_P(tls_test, closing_wakes_who_waits_in_it) {
  run([] {
    auto e = greet();
    std::error_code error;
    fiber reader = spawn([&] {
      std::array<std::byte, 10> buffer;
      e.server.read_some(buffer, error);
    });
    settle();
    e.server.close();
    reader.join();
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
  });
}

TEST_P(tls_test, a_stream_that_is_none_says_so) {
  run([] {
    tls_stream none;
    std::array<std::byte, 1> buffer;
    EXPECT_FALSE(none.is_open());
    EXPECT_EQ(code_of([&] { none.read_some(buffer); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([&] { none.write_all(buffer); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([&] { none.shutdown_write(); }), std::errc::bad_file_descriptor);
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Cancellation.

// Cancels call(), in a scope of its own, where it waits or before.
template <class F>
void cancel(F call) {
  bool was = false;
  scope s;
  s.go([&] {
    try {
      call();
    } catch (const cancelled&) {
      was = true;
      throw;
    }
  });
  until_the_others_wait();
  s.cancel();
  s.join();
  EXPECT_TRUE(was);
}

void write_for_ever(tls_stream& s) {
  const auto much = noise(65536);
  for (;;) s.write_all(much);
}

task<void> async_write_for_ever(tls_stream& s) {
  const auto much = noise(65536);
  for (;;) co_await s.async_write_all(much);
}

TEST_P(tls_test, handshakes_are_cancelled) {
  run([] {
    auto a = connect_pair(), b = connect_pair(), c = connect_pair(), d = connect_pair();
    const auto server = server_context();
    const auto client = client_context();
    cancel([&] { tls_stream::accept(server, std::move(a.server), 0ns); });
    cancel([&] { tls_stream::connect(client, std::move(b.client), "localhost", {.timeout = 0ns}); });
    cancel([&] { spawn(tls_stream::async_accept(server, std::move(c.server), 0ns)).join(); });
    cancel(
        [&] { spawn(tls_stream::async_connect(client, std::move(d.client), "localhost", {.timeout = 0ns})).join(); });
  });
}

TEST_P(tls_test, a_cancelled_read_loses_nothing) {
  run([] {
    auto e = greet();
    std::array<std::byte, 10> buffer;
    cancel([&] { e.server.read_some(buffer); });
    cancel([&] { e.server.read_exactly(buffer); });
    e.client.write_all(bytes("all here"));
    EXPECT_EQ(read_line(e.server, 8), "all here");
  });
}

TEST_P(tls_test, after_a_cancelled_write_nothing_is_written) {
  run([] {
    auto e = greet();
    cancel([&] { write_for_ever(e.client); });
    EXPECT_EQ(code_of([&] { e.client.write_some(bytes("x")); }), std::errc::broken_pipe);
    EXPECT_EQ(code_of([&] { e.client.shutdown_write(); }), std::errc::broken_pipe);
  });
}

TEST_P(tls_test, cancelled_calls_fail_at_once) {
  run([] {
    auto e = greet();
    std::error_code read, write, farewell, reading;
    {
      scope s;
      s.cancel();
      std::array<std::byte, 4> buffer;
      e.server.read_some(buffer, read);
      e.server.read_exactly(buffer, reading);
      e.server.write_some(buffer, write);
      e.server.shutdown_write(farewell);
    }
    for (const auto& error : {read, reading, write, farewell}) EXPECT_EQ(error, std::errc::operation_canceled);
    e.server.write_all(bytes("fine"));
    EXPECT_EQ(read_line(e.client, 4), "fine");
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Tasks.

task<void> echo_once(tls_context context, tcp_stream transport) {
  auto s = co_await tls_stream::async_accept(context, std::move(transport), std::chrono::seconds(60));
  std::array<std::byte, 8> buffer;
  co_await s.async_read_exactly(buffer);
  co_await s.async_write_all(buffer);
  EXPECT_EQ(co_await s.async_read_some(buffer), 0u);
  co_await s.async_shutdown_write();
}

task<void> ask_once(tls_context context, tcp_stream transport) {
  auto s = co_await tls_stream::async_connect(context, std::move(transport), "localhost");
  const auto question = bytes("question");
  EXPECT_EQ(co_await s.async_write_some(question), 8u);
  std::array<std::byte, 8> buffer;
  co_await s.async_read_exactly(buffer);
  EXPECT_TRUE(std::ranges::equal(buffer, question));
  co_await s.async_shutdown_write();
  EXPECT_EQ(co_await s.async_read_some(buffer), 0u);
}

TEST_P(tls_test, serves_tasks) {
  run([] {
    auto tcp = connect_pair();
    auto server = spawn(echo_once(server_context(), std::move(tcp.server)));
    auto client = spawn(ask_once(client_context(), std::move(tcp.client)));
    client.join();
    server.join();
  });
}

TEST_P(tls_test, tasks_are_cancelled) {
  run([] {
    auto e = greet();
    std::array<std::byte, 10> buffer;
    cancel([&] { spawn(e.server.async_read_some(buffer)).join(); });
    cancel([&] { spawn(e.server.async_read_exactly(buffer)).join(); });
    cancel([&] { spawn(async_write_for_ever(e.server)).join(); });
    EXPECT_EQ(code_of([&] { e.server.write_some(bytes("x")); }), std::errc::broken_pipe);
  });
}

// The client reads nothing before it has written all.
template <class ReadExactly>
void read_while_a_fiber_writes(ReadExactly read_exactly) {
  auto e = greet();
  const auto much = noise(100'000);
  std::vector<std::byte> got(much.size());
  auto reader = read_exactly(e.server, got);
  fiber other = spawn([&] { e.server.write_all(much); });
  e.client.write_all(much);
  std::vector<std::byte> back(much.size());
  e.client.read_exactly(back);
  reader.join();
  other.join();
  EXPECT_EQ(got, much);
  EXPECT_EQ(back, much);
}
const auto by_fiber = [](tls_stream& s, std::span<std::byte> to) { return spawn([&s, to] { s.read_exactly(to); }); };
const auto by_task = [](tls_stream& s, std::span<std::byte> to) { return spawn(s.async_read_exactly(to)); };

TEST_P(tls_test, a_task_reads_while_a_fiber_writes) {
  run([] { read_while_a_fiber_writes(by_task); });
}

// A reader that sends what the writer has encrypted waits for a peer who waits for it to read.
template <class ReadExactly>
void expect_that_it_always_reads(ReadExactly read_exactly) {
  issued();
  for (const auto how : {sim::strategy::uniform, sim::strategy::pct}) {
    const auto v = sim::check([&] { read_while_a_fiber_writes(read_exactly); }, {.schedules = 60, .how = how});
    EXPECT_TRUE(v.passed) << v.report;
  }
}

TEST(tls_in_simulation, a_reader_reads_whoever_writes) { expect_that_it_always_reads(by_fiber); }
TEST(tls_in_simulation, a_task_reads_whoever_writes) { expect_that_it_always_reads(by_task); }

// -----------------------------------------------------------------------------------------------------------------
// Threads, and OpenSSL's own programs.

TEST_P(tls_test, serves_plain_threads) {
  run([] {
    auto tcp = connect_pair();
    std::thread server([&] {
      auto s = tls_stream::accept(server_context(), std::move(tcp.server));
      EXPECT_EQ(read_line(s, 2), "hi");
      s.write_all(bytes("ho"));
    });
    auto c = tls_stream::connect(client_context(), std::move(tcp.client), "localhost");
    c.write_all(bytes("hi"));
    EXPECT_EQ(read_line(c, 2), "ho");
    server.join();
  });
}

using command = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

TEST_P(tls_test, answers_openssl_s_client_on_threads) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    std::string answer;
    std::thread stranger([&] {
      const auto line =
          "printf 'ping\\n' | openssl s_client -quiet -verify_return_error -servername localhost -CAfile " +
          issued().authority_file() + " -connect " + here(l) + " 2>&1";
      const command run(::popen(line.c_str(), "r"), ::pclose);
      std::array<char, 200> part;
      while (std::fgets(part.data(), part.size(), run.get())) answer += part.data();
    });
    auto s = tls_stream::accept(server_context(), l.accept(), std::chrono::seconds(60));
    EXPECT_EQ(read_line(s, 5), "ping\n");
    s.write_all(bytes("pong\n"));
    s.shutdown_write();
    s.close();
    stranger.join();
    EXPECT_NE(answer.find("pong"), std::string::npos) << answer;
  });
}

TEST_P(tls_test, asks_openssl_s_server_on_threads) {
  run([] {
    const auto line = "openssl s_server -rev -naccept 1 -accept 127.0.0.1:0 -cert " + local_certificate().chain_file +
                      " -key " + local_certificate().key_file + " 2>&1 </dev/null";
    const command server(::popen(line.c_str(), "r"), ::pclose);
    std::array<char, 200> part;
    std::string said, address;
    while (address.empty() && std::fgets(part.data(), part.size(), server.get())) {
      said += part.data();
      if (const std::string_view text(part.data()); text.starts_with("ACCEPT "))
        address = text.substr(7, text.find_last_not_of('\n') - 6);
    }
    ASSERT_FALSE(address.empty()) << said;
    auto c = tls_stream::connect(client_context(), tcp_stream::connect(address), "localhost");
    c.write_all(bytes("straight\n"));
    EXPECT_EQ(read_line(c, 9), "thgiarts\n");
    c.close();
    while (std::fgets(part.data(), part.size(), server.get())) {
    }
  });
}

}  // namespace
}  // namespace thrum::net
