// The listening socket of the c10k servers made with thrum, and the accept loop that both fiber servers share.
#pragma once

#include <chrono>
#include <thrum/thrum.hpp>

#include "lab/service.hpp"

namespace thrum::lab {

// The same as listen_and_announce(), with thrum's sockets.
thrum::net::tcp_listener bind_and_announce(const service& s);

using serve_function = void(thrum::net::tcp_stream connection, std::chrono::milliseconds wait);

// Starts a fiber for each connection; one for which no fiber can be made is closed.
[[noreturn]] void accept_for_ever(const service& s, serve_function* serve);

}  // namespace thrum::lab
