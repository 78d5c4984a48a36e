// What the copies of a tls_context share.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <thrum/net/tls_context.hpp>

#include "tls/engine.hpp"

namespace thrum::net {

struct tls_context::state {
  ssl_context_ptr main;
  std::map<std::string, ssl_context_ptr> by_name;
  std::vector<unsigned char> protocols;  // As ALPN has them on the wire.
};

}  // namespace thrum::net
