// What c-ares makes of several questions, or of an answer, when a stub asks them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <netdb.h>

#include <thrum/net/endpoint.hpp>
#include <thrum/net/resolver.hpp>

#include "dns/configuration.hpp"
#include "dns/stub.hpp"

namespace thrum::net {

// As ares_getaddrinfo: IPv4 and IPv6 at a time, under one name after the other until there is something.
void ask_for_addresses(stub& over, const resolver_configuration& with, const std::string& host, std::uint16_t port,
                       address_family family, std::function<void(int status, std::vector<endpoint> found)> then);
// As ares_gethostbyaddr: whatever fails, there is no such host. The hostent is null, or lives as long as the call.
void ask_for_names(stub& over, const endpoint& of, std::function<void(int status, const hostent* host)> then);

}  // namespace thrum::net
