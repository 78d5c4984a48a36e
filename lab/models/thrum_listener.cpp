// Listens; accepts connections for the fiber servers.

#include "lab/models/thrum_listener.hpp"

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>

#include "lab/failure.hpp"

namespace thrum::lab {

thrum::net::tcp_listener bind_and_announce(const service& s) {
  try {
    auto listener = thrum::net::tcp_listener::bind(fmt::format("127.0.0.1:{}", s.port), {.backlog = listen_backlog});
    announce(listener.local_port());
    return listener;
  } catch (const std::system_error& e) {
    throw failure(explain_port(s.port, e.code().value()));
  }
}

void accept_for_ever(const service& s, serve_function* serve) {
  auto listener = bind_and_announce(s);
  for (;;) {
    try {
      auto connection = listener.accept();
      thrum::go(
          [connection = std::move(connection), serve, wait = s.wait]() mutable { serve(std::move(connection), wait); });
    } catch (const std::exception& e) {
      report_limit(e.what());
      thrum::this_fiber::sleep_for(std::chrono::milliseconds(10));  // Without room, another try at once is no use.
    }
  }
}

}  // namespace thrum::lab
