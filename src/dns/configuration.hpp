// What a resolver works with: its options, completed by resolv.conf(5) as c-ares reads it. Constant once it is made.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <ares.h>

#include <thrum/net/endpoint.hpp>
#include <thrum/net/resolver.hpp>

#include "dns/hosts_table.hpp"

namespace thrum::net {

struct end_of_channel {
  void operator()(ares_channeldata* c) const noexcept { ares_destroy(c); }
};
using channel_handle = std::unique_ptr<ares_channeldata, end_of_channel>;

struct resolver_configuration {
  explicit resolver_configuration(const resolver_options& options);

  // A channel for a query; reads no file but /dev/urandom (with c-ares 1.18; later ones read some). Null: `status`
  // tells why.
  channel_handle make_channel(ares_sock_state_cb on_change, void* argument, int& status) const;

  // What is known without asking. Empty: ask, unless there is an error.
  std::vector<endpoint> look_up(std::string_view host, std::uint16_t port, address_family family,
                                std::error_code& error) const;
  // Whether the name is asked for as it is, before, or instead of, its being searched for.
  bool is_asked_first(std::string_view host) const noexcept;
  bool may_be_searched(std::string_view host) const noexcept { return !domains.empty() && !host.ends_with('.'); }

  std::vector<endpoint> servers;
  std::vector<std::string> domains;
  int ndots = 1;
  int try_timeout_ms = 0;
  int tries = 0;
  bool rotate = false;
  hosts_table hosts;
};

}  // namespace thrum::net
