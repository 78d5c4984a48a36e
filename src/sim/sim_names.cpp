// What a program asks of the names in its simulation.
#include <thrum/sim_names.hpp>

#include <stdexcept>

#include <thrum/detail/touch.hpp>

#include "sched/scheduler.hpp"
#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {
namespace {

network& network_of_names() {
  auto* w = sched::this_worker();
  auto* sockets = w ? w->home.sockets() : nullptr;
  if (!sockets) throw std::logic_error("thrum: sim: names can be made up only in a simulation");
  detail::touch_in_time(sockets);
  return static_cast<network&>(*sockets);
}

names& names_here() { return network_of_names().known_names(); }

}  // namespace

void set_name(std::string_view name, const std::vector<std::string>& addresses) {
  auto& known = names_here();
  const own_allocations unwatched;
  known.set_addresses(name, addresses);
}

void set_services(std::string_view name, const std::vector<net::srv_record>& services) {
  auto& known = names_here();
  const own_allocations unwatched;
  known.set_services(name, services);
}

void set_mail_hosts(std::string_view name, const std::vector<net::mx_record>& hosts) {
  auto& known = names_here();
  const own_allocations unwatched;
  known.set_mail_hosts(name, hosts);
}

void set_texts(std::string_view name, const std::vector<std::string>& texts) {
  auto& known = names_here();
  const own_allocations unwatched;
  known.set_texts(name, texts);
}

void remove_name(std::string_view name) {
  auto& known = names_here();
  const own_allocations unwatched;
  known.remove(name);
}

void set_name_server(std::string_view address, const name_server& s) { network_of_names().set(address, s); }

}  // namespace thrum::sim
