// Several buffers in one call, as byte_stream.hpp and buffers.hpp promise. Also in simulations, where writes are
// partial.
#include <thrum/net/buffers.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "net/vectored.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class vectored_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, vectored_test, worker_counts, count_name);

TEST(position_test, every_split_leaves_the_right_rest) {
  const std::string one = "abc", none, two = "de", three = "fghi";
  const std::array all{bytes(one), bytes(none), bytes(two), bytes(none), bytes(three), bytes(none)};
  const std::string whole = one + two + three;
  for (std::size_t first = 0; first <= whole.size(); ++first)
    for (std::size_t second = 0; first + second <= whole.size(); ++second) {
      position p{const_buffers(all)};
      p.advance(first);
      p.advance(second);
      std::string rest;
      const auto take = [&](std::span<const std::byte> b) {
        rest.append(reinterpret_cast<const char*>(b.data()), b.size());
      };
      if (!p.at_end()) {
        take(p.first());
        for (const auto& b : p.others()) take(b);
      }
      EXPECT_EQ(rest, whole.substr(first + second));
      EXPECT_EQ(p.at_end(), rest.empty());
    }
}

TEST_P(vectored_test, several_buffers_go_out_in_their_order) {
  run([] {
    auto [client, server] = connect_pair();
    const std::array parts{bytes("head "), bytes(""), bytes("and "), bytes("body")};
    client.write_all(parts);
    EXPECT_EQ(read_whole(server, 13), "head and body");
    const auto n = client.write_some(parts);
    EXPECT_GT(n, 0u);
    EXPECT_EQ(read_whole(server, n), std::string("head and body").substr(0, n));
    client.write_all(std::array{bytes("")});
    client.write_all(const_buffers::all());
    client.shutdown_write();
    EXPECT_EQ(read_text(server), "");
  });
}

TEST_P(vectored_test, reading_fills_them_in_their_order) {
  run([] {
    auto [client, server] = connect_pair();
    client.write_all(bytes("0123456789"));
    client.shutdown_write();
    std::string got;
    std::array<std::byte, 3> a;
    std::array<std::byte, 4> b;
    const std::array<std::span<std::byte>, 3> parts{a, std::span<std::byte>(), b};
    for (std::size_t n; (n = server.read_some(parts)) != 0;) {
      ASSERT_LE(n, 7u);
      for (std::size_t i = 0; i < n; ++i) got += static_cast<char>(i < 3 ? a[i] : b[i - 3]);
    }
    EXPECT_EQ(got, "0123456789");
  });
}

// More buffers than one call takes, of all sizes, and more bytes than the connection holds.
std::vector<std::vector<std::byte>> many_buffers() {
  std::vector<std::vector<std::byte>> all(500);
  unsigned value = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].resize(i % 7 == 0 ? 0 : i * 97 % 9000);
    for (auto& b : all[i]) b = static_cast<std::byte>(value++ * 7 / 5);
  }
  return all;
}

TEST_P(vectored_test, partial_writes_lose_and_double_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    const auto data = many_buffers();
    std::vector<std::span<const std::byte>> parts(data.begin(), data.end());
    std::vector<std::byte> whole;
    for (const auto& d : data) whole.insert(whole.end(), d.begin(), d.end());
    fiber writer = spawn([&, &client = client] {
      client.write_all(parts);
      std::error_code error;
      EXPECT_EQ(client.write_all(parts, error), whole.size());
      EXPECT_FALSE(error);
    });
    std::vector<std::byte> got(whole.size());
    for (int i = 0; i < 2; ++i) {
      server.read_exactly(got);
      EXPECT_EQ(got, whole);
    }
    writer.join();
  });
}

TEST_P(vectored_test, tasks_do_the_same) {
  run([] {
    auto [client, server] = connect_pair();
    const auto data = many_buffers();
    std::vector<std::span<const std::byte>> parts(data.begin(), data.end());
    std::vector<std::byte> whole;
    for (const auto& d : data) whole.insert(whole.end(), d.begin(), d.end());
    const auto writes = [&](tcp_stream& s) -> task<> {
      co_await s.async_write_all(parts);
      std::error_code error;
      const auto n = co_await s.async_write_all(parts, error);
      EXPECT_EQ(n, whole.size());
      const auto more = co_await s.async_write_some(parts, error);
      EXPECT_FALSE(error);
      EXPECT_GT(more, 0u);
      s.shutdown_write();
    };
    std::size_t total = 0;
    const auto reads = [&](tcp_stream& s) -> task<> {
      std::vector<std::byte> a(1000), b(30000);
      const std::array<std::span<std::byte>, 2> into{a, b};
      std::error_code error;
      for (bool more = true; more;) {
        const auto n = co_await s.async_read_some(into, error);
        EXPECT_FALSE(error);
        for (std::size_t i = 0; i < n; ++i)
          EXPECT_EQ(i < a.size() ? a[i] : b[i - a.size()], whole[(total + i) % whole.size()]);
        total += n;
        more = n != 0;
      }
    };
    auto w = spawn(writes(client));
    auto r = spawn(reads(server));
    w.join();
    r.join();
    EXPECT_GT(total, 2 * whole.size());
  });
}

TEST_P(vectored_test, what_stops_in_the_middle_breaks_the_stream) {
  run([] {
    auto [client, server] = connect_pair();
    client.set_timeout(10ms);
    const std::vector<std::byte> much(32 << 20);
    const std::array<std::span<const std::byte>, 2> parts{much, much};
    std::error_code error;
    const auto written = client.write_all(parts, error);
    EXPECT_EQ(error, std::errc::timed_out);
    EXPECT_TRUE(written > 0 && written < 2 * much.size());
    EXPECT_EQ(code_of([&, &client = client] { client.write_some(parts); }), std::errc::broken_pipe);
    EXPECT_EQ(client.write_all(parts, error), 0u);
    EXPECT_EQ(error, std::errc::broken_pipe);
  });
}

TEST_P(vectored_test, waiting_for_room_or_bytes_is_cancelled) {
  run([] {
    auto [client, server] = connect_pair();
    fill(client);
    const std::array parts{bytes("x"), bytes("y")};
    fiber writer = spawn([&, &client = client] { EXPECT_THROW(client.write_all(parts), cancelled); });
    fiber reader = spawn([&, &client = client] {
      std::array<std::byte, 3> buffer;
      const std::array<std::span<std::byte>, 1> into{buffer};
      std::error_code error;
      EXPECT_EQ(client.read_some(into, error), 0u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    writer.request_stop();
    reader.request_stop();
    writer.join();
    reader.join();
  });
}

}  // namespace
}  // namespace thrum::net
