// The accept loop that both fiber servers of c10k share: a fiber for each connection.
#pragma once

#include <chrono>
#include <thrum/thrum.hpp>

#include "lab/service.hpp"

namespace thrum::lab {

using serve_function = void(thrum::net::tcp_stream connection, std::chrono::milliseconds wait);

[[noreturn]] void accept_for_ever(const service& s, serve_function* serve);

}  // namespace thrum::lab
