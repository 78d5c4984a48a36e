// What tests on several hosts of a simulated network share.
#pragma once

#include <string>
#include <string_view>

#include <thrum/net/tcp_listener.hpp>
#include <thrum/sim_network.hpp>

#include "support.hpp"

namespace thrum::test {

inline net::tcp_listener listening_on(std::string_view host, const std::string& address) {
  return sim::on_host(host, [&] { return net::tcp_listener::bind(address); });
}

}  // namespace thrum::test
