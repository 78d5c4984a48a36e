// What a program asks of its simulated network.
#include <thrum/sim_network.hpp>

#include <stdexcept>

#include "sched/scheduler.hpp"
#include "sim/network.hpp"

namespace thrum {
namespace {

sim::network& network_here() {
  auto* w = sched::this_worker();
  auto* sockets = w ? w->home.sockets() : nullptr;
  if (!sockets) throw std::logic_error("thrum: sim: there is a network of hosts only in a simulation");
  return static_cast<sim::network&>(*sockets);
}

}  // namespace

const context_key<std::string> detail::sim_host;
std::string detail::introduce_sim_host(std::string_view address) { return network_here().introduce(address); }

void sim::set_link(std::string_view from, std::string_view to, const link& l) { network_here().set(from, to, l); }
void sim::break_connections(std::string_view a, std::string_view b) { network_here().break_connections(a, b); }

}  // namespace thrum
