// The hosts of a simulated network (sim.hpp), and what goes wrong between them.
//
//   sim::on_host("10.0.0.1", [] { go(serve); });                  // What serve binds and connects is that host's.
//   sim::set_link("10.0.0.1", "10.0.0.2", {.cut = true});         // What the first sends does not reach the second;
//   sim::set_link("10.0.0.1", "10.0.0.2", {});                    // now it does, and what was sent meanwhile too.
//   sim::set_link("10.0.0.2", "10.0.0.1", {.bytes_per_second = 1000});  // A slow peer.
//   sim::break_connections("10.0.0.1", "10.0.0.2");               // All of them are reset.
//
// Whoever was not started on a host is on "", which has every address that no host has. 127.0.0.1 and [::1] are each
// host's own, and so are Unix sockets, whose paths are files on its disk (sim_disk.hpp). Links do not concern these.
//
// A cut is what a broken cable is to TCP. Data and requests are sent again and again, and arrive once the link is
// restored; a reset is sent once, and lost. Who hears no answer for long, the way there or back being cut, gets
// errc::timed_out: after 127 s when it connects, after 924 s when it sends, as on Linux. Who only reads hears nothing.
// UDP datagrams that are sent meanwhile are gone. On a link they overtake each other; those from a host to itself keep
// their order. Where nobody receives, a connected sender gets errc::connection_refused, if the way back is not cut.
//
// All are for fibers and tasks of a simulation: they throw std::logic_error elsewhere, and std::invalid_argument for
// what is no numeric address. None suspends.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <thrum/context_value.hpp>

namespace thrum::detail {

extern const context_key<std::string> sim_host;
std::string introduce_sim_host(std::string_view address);  // Its name, as the network writes it.

}  // namespace thrum::detail

namespace thrum::sim {

// f(), here; it is on that host, and so are all whom it starts, to their end.
template <class F>
decltype(auto) on_host(std::string_view address, F&& f) {
  context_value here(detail::sim_host, detail::introduce_sim_host(address));
  return std::forward<F>(f)();
}

// How what one host sends reaches another; the way back is a link of its own. What is under way already is not changed.
struct link {
  bool cut = false;
  std::chrono::nanoseconds latency{0};  // In addition to that of the options.
  std::uint64_t bytes_per_second = 0;   // Of all connections together; 0: no limit.
};
void set_link(std::string_view from, std::string_view to, const link& l);

// The connections that are established: both ends get errc::connection_reset at once.
void break_connections(std::string_view a, std::string_view b);

}  // namespace thrum::sim
