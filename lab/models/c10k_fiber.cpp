// A TCP server with a fiber per connection: the blocking code of the thread model, scheduled like the event
// loop.

#include <system_error>
#include <thrum/thrum.hpp>

#include "lab/failure.hpp"
#include "lab/models/models.hpp"
#include "lab/models/thrum_listener.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

bool receive(thrum::net::tcp_stream& connection, std::span<std::byte> into) {
  for (std::size_t have = 0; have < message_bytes;) {
    std::size_t n = connection.read_some(into.subspan(have));
    if (n == 0) return false;
    have += n;
  }
  return true;
}

void serve(thrum::net::tcp_stream connection, std::chrono::milliseconds wait) try {
  buffer bytes;
  while (receive(connection, bytes)) {
    thrum::this_fiber::sleep_for(wait);  // The "database".
    answer_in_place(message_in(bytes));
    connection.write_all(message_in(bytes));
  }
} catch (const std::system_error&) {
  // The client has gone in the middle of a request.
}

}  // namespace

void c10k_fiber(const nlohmann::json& order) {
  service s(order);
  thrum::run([&] { accept_for_ever(s, serve); });
}

}  // namespace thrum::lab
