// Boost.Beast on fibers, unchanged: HTTP and WebSocket over our streams.
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <thrum/net/asio.hpp>
#include <thrum/net/memory_stream.hpp>
#include <thrum/net/server.hpp>

#include "tcp_support.hpp"

namespace thrum {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;

using namespace test;
using net::asio_stream, net::memory_stream;

static_assert(beast::is_sync_stream<asio_stream<tcp_stream>>::value);
static_assert(beast::is_sync_stream<asio_stream<memory_stream>>::value);

class beast_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, beast_test, worker_counts, count_name);

// Answers requests with what they asked for, until the client has enough.
void serve_http(tcp_stream connection) {
  asio_stream stream(connection);
  beast::flat_buffer buffer;
  for (;;) {
    http::request<http::string_body> request;
    beast::error_code error;
    http::read(stream, buffer, request, error);
    if (error == http::error::end_of_stream) return;
    ASSERT_FALSE(error) << error.message();
    http::response<http::string_body> response(http::status::ok, request.version());
    response.keep_alive(request.keep_alive());
    response.body() = std::string(request.target()) + " " + request.body();
    response.prepare_payload();
    http::write(stream, response);
  }
}

std::string get(asio_stream<tcp_stream>& stream, beast::flat_buffer& buffer, const std::string& target,
                std::string body) {
  http::request<http::string_body> request(http::verb::post, target, 11);
  request.set(http::field::host, "here");
  request.body() = std::move(body);
  request.prepare_payload();
  http::write(stream, request);
  http::response<http::string_body> response;
  http::read(stream, buffer, response);
  return response.body();
}

TEST_P(beast_test, http_client_and_server_run_on_fibers) {
  run([] {
    net::server server(tcp_listener::bind("127.0.0.1:0"), serve_http);
    auto serving = spawn([&] { server.serve(); });
    scope clients;
    for (int c = 0; c < 5; ++c) {
      clients.go([&, c] {
        auto connection = tcp_stream::connect(here(server.listener()));
        asio_stream stream(connection);
        beast::flat_buffer buffer;
        const std::string large(100'000, static_cast<char>('a' + c));
        for (const auto& body : {std::string("small"), large, std::string()})
          EXPECT_EQ(get(stream, buffer, "/" + std::to_string(c), body), "/" + std::to_string(c) + " " + body);
      });
    }
    clients.join();
    const auto r = server.shutdown(hang_guard);
    serving.join();
    EXPECT_EQ(r.served + r.drained, 5u);
    EXPECT_EQ(r.failed + r.cancelled, 0u);
  });
}

// Beast keeps descriptors of an event loop, which nobody runs, until the process ends.
void echo_messages(tcp_stream& connection) {
  asio_stream stream(connection);
  websocket::stream<asio_stream<tcp_stream>&> ws(stream);
  ws.accept();
  for (;;) {
    beast::flat_buffer message;
    beast::error_code error;
    ws.read(message, error);
    if (error == websocket::error::closed) return;
    ASSERT_FALSE(error) << error.message();
    ws.text(ws.got_text());
    ws.write(message.data());
  }
}

auto executor() {
  tcp_stream none;
  return asio_stream(none).get_executor();
}

void send_messages(tcp_stream& connection) {
  asio_stream stream(connection);
  websocket::stream<asio_stream<tcp_stream>&> ws(stream);
  ws.handshake("here", "/");
  for (const std::size_t size : {0, 1, 125, 126, 70'000}) {
    const std::string sent(size, 'x');
    ws.write(asio::buffer(sent));
    beast::flat_buffer message;
    ws.read(message);
    EXPECT_EQ(beast::buffers_to_string(message.data()), sent);
  }
  ws.close(websocket::close_code::normal);
}

TEST_P(beast_test, websockets_echo_over_tcp) {
  const asio::steady_timer opens_them_beforehand(executor());
  run([] {
    auto [client, end] = connect_pair();
    auto serving = spawn([s = std::move(end)]() mutable { echo_messages(s); });
    send_messages(client);
    serving.join();
  });
}

TEST_P(beast_test, the_end_cancellation_and_other_errors_have_their_boost_names) {
  run([] {
    auto ends = net::memory_stream::pair();
    asio_stream stream(ends.first);
    std::array<char, 8> room;
    auto reading = spawn([&] {
      beast::error_code error;
      stream.read_some(asio::buffer(room), error);
      EXPECT_EQ(error, asio::error::operation_aborted);
      EXPECT_THROW(stream.read_some(asio::buffer(room)), cancelled);
      EXPECT_THROW(stream.write_some(asio::buffer(room)), cancelled);
    });
    settle();
    reading.request_stop();
    reading.join();
    ends.second.write_all(bytes("ab"));
    ends.second.close();
    const std::array<asio::mutable_buffer, 2> sequence{asio::mutable_buffer(), asio::buffer(room)};
    EXPECT_EQ(stream.read_some(sequence), 2u);
    EXPECT_EQ(stream.read_some(asio::mutable_buffer()), 0u);
    beast::error_code error;
    EXPECT_EQ(stream.read_some(sequence, error), 0u);
    EXPECT_EQ(error, asio::error::eof);
    EXPECT_THROW(stream.write_some(asio::buffer(room)), boost::system::system_error);
    EXPECT_EQ(stream.write_some(asio::buffer(room), error), 0u);
    EXPECT_EQ(error, asio::error::broken_pipe);
    EXPECT_EQ(net::to_boost(std::make_error_code(std::errc::timed_out)), boost::system::errc::timed_out);
  });
}

TEST_P(beast_test, pieces_are_sent_together) {
  run([] {
    auto ends = net::memory_stream::pair();
    asio_stream stream(ends.first);
    const std::string head = "head ", body = "body";
    const std::array<asio::const_buffer, 3> sequence{asio::buffer(head), asio::const_buffer(), asio::buffer(body)};
    EXPECT_EQ(stream.write_some(sequence), 9u);
    std::array<std::byte, 16> got;
    EXPECT_EQ(ends.second.read_some(got), 9u);
    EXPECT_EQ(stream.write_some(asio::const_buffer()), 0u);
  });
}

}  // namespace
}  // namespace thrum
