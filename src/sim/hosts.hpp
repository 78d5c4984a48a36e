// The hosts of a simulated network and the links between them: who has which address, and when what one sends reaches
// another. Nothing here knows of sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <thrum/sim_network.hpp>

#include "net/address.hpp"

namespace thrum::sim {

bool is_any(const net::address& a) noexcept;
bool is_loopback(const net::address& a) noexcept;
bool is_group(const net::address& a) noexcept;                          // Of multicast.
bool same_host(const net::address& a, const net::address& b) noexcept;  // But for the port.

using host_id = std::uint32_t;
inline constexpr host_id other_host = 0;  // The one that is called "".

struct path {
  host_id from = other_host, to = other_host;

  path back() const noexcept { return {to, from}; }
  auto operator<=>(const path&) const = default;
};

class hosts {
 public:
  // The host of that name; new when it has not been heard of. Throws std::invalid_argument.
  host_id named(std::string_view name);
  const std::string& name_of(host_id h) const noexcept;
  host_id of_caller();
  bool speaks_v6(host_id h) const;                            // And nothing else.
  std::size_t count() const noexcept { return ids_.size(); }  // Their numbers are those below.
  // Whose that address is, seen from a host.
  host_id owner_of(const net::address& a, host_id seen_from) const;
  // With which `mine` speaks to `there`, without a port; of length 0 when it has none of that family.
  net::address own_address(host_id mine, const net::address& there) const;

  // Its own for others; of length 0 when it has none of that family.
  net::address outer_address(host_id mine, int family) const;

  void set(const path& p, const link& l, std::int64_t now_ns);
  bool is_cut(const path& p) const noexcept;
  // Since a time, without a pause, in this direction or back.
  bool is_mute_since(const path& p, std::int64_t since_ns) const noexcept;
  // When the last of so many bytes sent now arrives, beside the network's latency.
  std::int64_t arrival_at(const path& p, std::size_t bytes, std::int64_t now_ns) noexcept;

 private:
  struct way {
    link as;
    std::int64_t cut_at = 0;
    std::int64_t free_at = 0;  // Until then what was sent before occupies it.
  };
  const way* find(const path& p) const noexcept;

  std::map<std::string, host_id, std::less<>> ids_{{"", other_host}};
  std::map<host_id, net::address> addresses_;
  std::map<path, way> ways_;
};

}  // namespace thrum::sim
