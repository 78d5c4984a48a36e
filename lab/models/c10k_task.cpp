// A TCP server with a stackless task per connection: the fiber server with co_await at each wait. What a
// connection needs lies in the frames of its coroutines, the buffer too.

#include <system_error>
#include <thrum/task.hpp>
#include <thrum/thrum.hpp>
#include <utility>

#include "lab/models/models.hpp"
#include "lab/models/thrum_listener.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

thrum::task<bool> receive(thrum::net::tcp_stream& connection, std::span<std::byte> into) {
  for (std::size_t have = 0; have < message_bytes;) {
    std::size_t n = co_await connection.async_read_some(into.subspan(have));
    if (n == 0) co_return false;
    have += n;
  }
  co_return true;
}

// The connection is a parameter, not a capture: a coroutine's frame keeps its parameters.
thrum::task<> serve(thrum::net::tcp_stream connection, std::chrono::milliseconds wait) {
  try {
    buffer bytes;
    while (co_await receive(connection, bytes)) {
      co_await thrum::async_sleep_for(wait);  // The "database".
      answer_in_place(message_in(bytes));
      co_await connection.async_write_all(message_in(bytes));
    }
  } catch (const std::system_error&) {
    // The client has gone in the middle of a request.
  }
}

thrum::task<> accept_for_ever(const service& s) {
  auto listener = bind_and_announce(s);
  for (;;) {
    try {
      auto connection = co_await listener.async_accept();
      thrum::go(serve(std::move(connection), s.wait));
      continue;
    } catch (const std::exception& e) {
      report_limit(e.what());
    }
    // Without room, another try at once is no use. Outside the handler, where co_await is not allowed.
    co_await thrum::async_sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

void c10k_task(const nlohmann::json& order) {
  service s(order);
  thrum::run([&] { thrum::spawn(accept_for_ever(s)).join(); });
}

}  // namespace thrum::lab
