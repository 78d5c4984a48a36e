// The names of a simulation (sim.hpp), and the name servers that know them, for net::resolver (the library thrum_dns).
//
//   sim::set_name("db.internal", {"10.0.0.2", "10.0.0.3"});       // Its addresses; and that is the name of each.
//   sim::set_services("_db._tcp.internal", {{.target = "db.internal", .port = 5432}});
//   sim::set_name_server("10.0.0.53", {.one_in_lost = 4});        // One more, which does not answer every query;
//   sim::set_link("10.0.0.1", "10.0.0.53", {.cut = true});        // nor any, on a link that is cut (sim_network.hpp).
//   sim::remove_name("db.internal");                              // Now there is no such host.
//
// A resolver that is told nothing else asks default_name_server, which is there from the beginning, and searches under
// no domain; a host with an IPv6 address asks default_name_server_v6. The machine's resolv.conf(5) and hosts(5) are not
// read, unless a resolver's options name other files than the usual two. The environment (LOCALDOMAIN, RES_OPTIONS)
// counts only for such a file, as do c-ares' own defaults.
//
// A name server is a host with nothing on it but port 53, for UDP and TCP: links to it are links, and
// options::one_in_lost loses queries and answers. All of them know all names. They answer in no time, but for the way
// and for what set_name_server() says. What is longer than 512 bytes is truncated by UDP. A program may run name
// servers of its own, on sockets, and have its resolvers ask those.
//
// All are for fibers and tasks of a simulation: they throw std::logic_error elsewhere, and std::invalid_argument for
// what is no name, no numeric address or no span of time. None suspends.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/net/resolver.hpp>

namespace thrum::sim {

// Each is in place of all that the name had of the kind; without any, it has none. Upper and lower case, and a dot at
// the end, make no difference.
void set_name(std::string_view name, const std::vector<std::string>& addresses);
void set_services(std::string_view name, const std::vector<net::srv_record>& services);
void set_mail_hosts(std::string_view name, const std::vector<net::mx_record>& hosts);
void set_texts(std::string_view name, const std::vector<std::string>& texts);
// With all that it has.
void remove_name(std::string_view name);

inline constexpr std::string_view default_name_server = "192.0.2.53", default_name_server_v6 = "2001:db8::53";

struct name_server {
  std::chrono::nanoseconds latency_min{0};  // How long it thinks about a query.
  std::chrono::nanoseconds latency_max{0};
  std::uint32_t one_in_lost = 0;       // Of so many queries by UDP, one is never answered. 0: none; 1: all.
  std::uint32_t one_in_failures = 0;   // Of so many queries, for one it says that it has failed (SERVFAIL).
  std::uint32_t one_in_truncated = 0;  // Of so many answers by UDP, one is to be asked for again by TCP.
  bool down = false;                   // It is silent, and takes no connections.
};
// From now on there is one at that address, port 53, and it is like that; also one of the default ones.
void set_name_server(std::string_view address, const name_server& s = {});

}  // namespace thrum::sim
