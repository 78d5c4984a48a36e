// In which order the addresses of a host are to be tried: RFC 6724, section 6, as far as c-ares follows it.
#pragma once

#include <vector>

#include <thrum/net/endpoint.hpp>

namespace thrum::net {

// Asks the runtime's own sockets from which address each would be spoken to. Does not suspend.
void order_addresses(std::vector<endpoint>& all);

}  // namespace thrum::net
