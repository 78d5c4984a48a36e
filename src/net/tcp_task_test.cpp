// TCP in tasks: the forms that report errors, and readiness. Cancellation of each call:
// semantics_cancellation_test.cpp.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <array>
#include <string>
#include <system_error>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class tcp_task_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, tcp_task_test, worker_counts, count_name);

task<> serve_an_echo(net::tcp_listener& l) {
  std::error_code error;
  auto c = co_await l.async_accept(error);
  EXPECT_FALSE(error);
  std::array<std::byte, 3> buffer;
  while (!error) {
    const auto n = co_await c.async_read_exactly(buffer, error);
    if (error) break;
    EXPECT_EQ(n, buffer.size());
    const auto sent = co_await c.async_write_all(buffer, error);
    EXPECT_EQ(sent, buffer.size());
  }
  EXPECT_EQ(error, std::errc::connection_aborted);  // A premature end of the stream.
}

TEST_P(tcp_task_test, errors_are_reported_where_they_are_asked_for) {
  run([] {
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto server = spawn(serve_an_echo(l));
    const auto ask = [](std::string address) -> task<> {
      std::error_code error;
      auto c = co_await net::tcp_stream::async_connect(address, 10s, error);
      EXPECT_FALSE(error);
      const auto text = std::as_bytes(std::span("abcde", 5));
      auto n = co_await c.async_write_all(text, error);
      EXPECT_EQ(n, 5u);
      co_await c.async_wait_readable(error);
      EXPECT_FALSE(error);
      std::array<std::byte, 8> buffer;
      for (n = 0; n < 3 && !error;) n += co_await c.async_read_some(buffer, error);
      EXPECT_EQ(n, 3u);
      co_await c.async_wait_writable(error);
      EXPECT_FALSE(error);
      c.shutdown_write();
      n = co_await c.async_read_some(buffer, error);
      EXPECT_EQ(n, 0u);
    };
    spawn(ask(l.local_address())).join();
    server.join();
  });
}

TEST_P(tcp_task_test, connecting_to_nobody_is_reported_or_thrown) {
  run([] {
    const auto refused = [](std::string address) -> task<> {
      std::error_code error;
      const auto c = co_await net::tcp_stream::async_connect(address, 10s, error);
      EXPECT_EQ(error, std::errc::connection_refused);
      EXPECT_FALSE(c.is_open());
      const auto nowhere = co_await net::tcp_stream::async_connect("nowhere", 10s, error);
      EXPECT_EQ(error, std::errc::invalid_argument);
      EXPECT_FALSE(nowhere.is_open());
      EXPECT_FALSE((co_await net::tcp_stream::async_connect(net::endpoint(), 10s, error)).is_open());
      EXPECT_EQ(error, std::errc::invalid_argument);
    };
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    const auto address = l.local_address();
    l.close();
    spawn(refused(address)).join();
    EXPECT_THROW(spawn(net::tcp_stream::async_connect(address)).join(), std::system_error);
    EXPECT_THROW(spawn(net::tcp_stream::async_connect(net::endpoint(address))).join(), std::system_error);
  });
}

TEST_P(tcp_task_test, cancellation_is_reported_and_lets_the_task_go_on) {
  run([] {
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto out = net::tcp_stream::connect(l.local_address());
    auto in = l.accept();
    int reported = 0;
    const auto waits = [&]() -> task<> {
      std::error_code error;
      std::array<std::byte, 8> buffer;
      const auto n = co_await in.async_read_some(buffer, error);
      EXPECT_EQ(n, 0u);
      if (error == std::errc::operation_canceled) ++reported;
      co_await in.async_wait_readable(error);
      if (error == std::errc::operation_canceled) ++reported;
      co_await in.async_wait_writable(error);
      if (error == std::errc::operation_canceled) ++reported;
      (void)co_await l.async_accept(error);
      if (error == std::errc::operation_canceled) ++reported;
    };
    auto t = spawn(waits());
    settle();
    t.request_stop();
    t.join();
    EXPECT_EQ(reported, 4);
  });
}

TEST_P(tcp_task_test, a_full_stream_becomes_writable) {
  run([] {
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto out = net::tcp_stream::connect(l.local_address());
    auto in = l.accept();
    const std::vector<std::byte> block(1 << 16);
    std::size_t written = 0;
    event full;
    const auto fill = [&]() -> task<> {
      std::error_code error;
      out.set_timeout(5ms);
      while (!error) written += co_await out.async_write_some(block, error);
      EXPECT_EQ(error, std::errc::timed_out);
      out.set_timeout({});
      full.set();
      co_await out.async_wait_writable();
      out.shutdown_write();
    };
    auto t = spawn(fill());
    full.wait();
    std::vector<std::byte> drained(1 << 20);
    std::size_t read = 0;
    while (const auto n = in.read_some(drained)) read += n;
    t.join();
    EXPECT_EQ(read, written);
  });
}

}  // namespace
}  // namespace thrum
