// What else is passed through Unix sockets than pipes: connections, listeners, files; on the kernel and in simulations.
#include <thrum/file.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/net/unix_listener.hpp>
#include <thrum/net/unix_stream.hpp>
#include <thrum/pipe.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class passing_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, passing_test, worker_counts, count_name);

template <class Stream>
std::string text_from(Stream& s, std::size_t size) {
  std::string text(size, '\0');
  s.read_exactly(std::as_writable_bytes(std::span(text)));
  return text;
}

bool is_at_end(byte_stream& s) {
  std::array<std::byte, 1> one;
  return s.read_some(one) == 0;
}

// A copy of it as it comes through a Unix socket.
int passed(int fd) {
  auto [a, b] = unix_stream::pair();
  a.send_descriptor(fd, bytes("d"));
  std::array<std::byte, 1> one;
  descriptor d;
  EXPECT_EQ(b.receive_descriptor(one, d), 1u);
  EXPECT_TRUE(d.is_open());
  EXPECT_NE(d.native_handle(), fd);
  return d.release();
}

std::pair<tcp_stream, tcp_stream> connected() {
  auto l = tcp_listener::bind("127.0.0.1:0");
  auto client = tcp_stream::connect(l.local_address());
  return {std::move(client), l.accept()};
}

TEST_P(passing_test, a_connection_goes_on_where_it_is_handed_to) {
  run([] {
    auto [client, server] = connected();
    auto heir = tcp_stream::adopt(passed(server.native_handle()));
    server.close();
    client.write_all(bytes("question"));
    EXPECT_EQ(text_from(heir, 8), "question");
    heir.write_all(bytes("answer"));
    EXPECT_EQ(text_from(client, 6), "answer");
    EXPECT_EQ(heir.remote_address(), client.local_address());
    heir.close();
    EXPECT_TRUE(is_at_end(client));
  });
}

TEST_P(passing_test, it_ends_with_the_last_descriptor_and_not_before) {
  run([] {
    auto [client, server] = connected();
    auto [a, b] = unix_stream::pair();
    a.send_descriptor(server.native_handle(), bytes("d"));
    server.close();
    a.close();
    EXPECT_EQ(select(client.on_readable([] {}), after(20ms, [] {})), 1u);  // It is under way.
    b.close();                                                             // Where nobody will receive it.
    EXPECT_TRUE(is_at_end(client));
  });
}

TEST_P(passing_test, readers_of_both_descriptors_get_what_comes) {
  run([] {
    auto [client, server] = connected();
    auto other = tcp_stream::adopt(passed(server.native_handle()));
    std::atomic<int> got = 0;
    const auto reads = [&](tcp_stream& s) {
      std::array<std::byte, 1> one;
      while (s.read_some(one) == 1) ++got;
    };
    fiber first = spawn([&, &server = server] { reads(server); }), second = spawn([&] { reads(other); });
    settle();
    for (int i = 0; i < 20; ++i) client.write_all(bytes("x"));
    client.shutdown_write();
    first.join();
    second.join();
    EXPECT_EQ(got, 20);
  });
}

TEST_P(passing_test, a_listener_is_handed_over_without_losing_a_connection) {
  run([] {
    auto old_one = tcp_listener::bind("127.0.0.1:0");
    const auto address = old_one.local_address();
    auto early = tcp_stream::connect(address);
    auto heir = tcp_listener::adopt(passed(old_one.native_handle()));
    old_one.close();
    auto late = tcp_stream::connect(address);
    early.write_all(bytes("early"));
    late.write_all(bytes("later"));
    auto first = heir.accept(), second = heir.accept();
    EXPECT_EQ(text_from(first, 5), "early");
    EXPECT_EQ(text_from(second, 5), "later");
    EXPECT_EQ(heir.local_address(), address);
    heir.close();
    EXPECT_EQ(code_of([&] { tcp_stream::connect(address); }), std::errc::connection_refused);
  });
}

TEST_P(passing_test, a_unix_listener_is_handed_over_and_its_file_stays) {
  run([] {
    const scratch_directory d;
    const auto name = d / "s";
    auto old_one = unix_listener::bind(name);
    auto heir = unix_listener::adopt(passed(old_one.native_handle()));
    auto client = unix_stream::connect(name);
    EXPECT_TRUE(heir.accept().is_open());
    EXPECT_EQ(heir.local_address(), name);
    heir.close();
    EXPECT_FALSE(code_of([&] { unix_stream::connect(name); }));
  });
}

TEST_P(passing_test, only_listeners_of_their_kind_are_adopted) {
  run([] {
    auto [client, server] = connected();
    const scratch_directory d;
    auto at_name = unix_listener::bind(d / "s");
    auto at_port = tcp_listener::bind("127.0.0.1:0");
    EXPECT_EQ(code_of([&, &c = client] { tcp_listener::adopt(c.native_handle()); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&] { tcp_listener::adopt(at_name.native_handle()); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&] { unix_listener::adopt(at_port.native_handle()); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([] { tcp_listener::adopt(-1); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([] { unix_listener::adopt(-1); }), std::errc::bad_file_descriptor);
    EXPECT_TRUE(at_port.is_open());
  });
}

TEST_P(passing_test, an_open_file_has_one_position) {
  run([] {
    const scratch_directory d;
    auto f = file::open(d / "f", {.read = true, .write = true, .create = true});
    f.write_all(bytes("abcdef"));
    f.seek(0);
    auto other = file::adopt(passed(f.native_handle()));
    std::array<std::byte, 2> two;
    EXPECT_EQ(f.read_all(two), 2u);
    EXPECT_EQ(other.position(), 2u);
    f.close();
    EXPECT_EQ(other.read_all(two), 2u);
    EXPECT_EQ(std::to_integer<char>(two[0]), 'c');
  });
}

TEST_P(passing_test, a_pipe_has_a_writer_as_long_as_one_is_under_way) {
  run([] {
    auto p = make_pipe();
    auto [a, b] = unix_stream::pair();
    a.send_descriptor(p.writer.native_handle(), bytes("d"));
    p.writer.close();
    std::array<std::byte, 1> one;
    descriptor d;
    EXPECT_EQ(b.receive_descriptor(one, d), 1u);
    auto heir = pipe_writer::adopt(d.release());
    heir.write_all(bytes("w"));
    EXPECT_EQ(text_from(p.reader, 1), "w");
    heir.close();
    EXPECT_EQ(p.reader.read_some(one), 0u);
  });
}

TEST_P(passing_test, what_is_closed_is_not_passed) {
  run([] {
    auto [client, server] = connected();
    const int fd = server.native_handle();
    descriptor(passed(fd)).close();
    client.write_all(bytes("x"));
    EXPECT_EQ(text_from(server, 1), "x");  // The copy was closed, and this is open.
    server.close();
    auto [a, b] = unix_stream::pair();
    EXPECT_EQ(code_of([&, &a = a] { a.send_descriptor(1'000'000, bytes("x")); }), std::errc::bad_file_descriptor);
  });
}

}  // namespace
}  // namespace thrum::net
