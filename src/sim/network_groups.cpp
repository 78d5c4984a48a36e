// Multicast: who is in which group, and the ways of what is sent to one.
#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>

#include <netinet/in.h>

#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {
namespace {

// The interfaces of each host: to itself, and to all the others.
constexpr unsigned loopback = 1, outer = 2;
constexpr std::ptrdiff_t memberships_max = 20;  // Linux's default, of IPv4.

// IPv6 has groups that are meant for one machine.
bool stays_on_host(const net::address& group) noexcept {
  return group.family() == AF_INET6 &&
         IN6_IS_ADDR_MC_NODELOCAL(&reinterpret_cast<const sockaddr_in6&>(group.storage).sin6_addr);
}

bool is_same(unsigned wanted, unsigned interface) noexcept { return wanted == 0 || wanted == interface; }

// 0, or an errno value. An IPv6 socket may be in groups of IPv4, too.
int check_group(int type, int family, const net::address& group) noexcept {
  if (family == AF_UNIX) return EOPNOTSUPP;
  if (family == AF_INET && group.family() == AF_INET6) return ENOPROTOOPT;
  return type == SOCK_DGRAM ? 0 : EPROTO;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Membership.

unsigned network::interface_number(const char* name) noexcept {
  const std::string_view wanted(name);
  if (wanted == "lo") return loopback;
  if (wanted == "eth0") return outer;
  errno = ENODEV;
  return 0;
}

int network::join_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  const auto g = copy_of(group, length);
  if (const int error = check_group(e->type, e->family, g)) return fail(error);
  if (!is_group(g)) return fail(EINVAL);
  if (interface == 0) interface = outer;
  const auto of_family = [&](const membership& m) { return m.group.family() == g.family(); };
  const auto has_it = [&](const membership& m) { return m.interface == interface && same_host(m.group, g); };
  if (std::any_of(e->groups.begin(), e->groups.end(), has_it)) return fail(EADDRINUSE);
  if (g.family() == AF_INET && std::count_if(e->groups.begin(), e->groups.end(), of_family) >= memberships_max)
    return fail(ENOBUFS);
  e->groups.push_back({g, interface});
  return 0;
}

int network::leave_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  const auto g = copy_of(group, length);
  if (const int error = check_group(e->type, e->family, g)) return fail(error);
  if (g.family() == AF_INET6 && !is_group(g)) return fail(EINVAL);
  const auto at = std::find_if(e->groups.begin(), e->groups.end(), [&](const membership& m) {
    return is_same(interface, m.interface) && same_host(m.group, g);
  });
  if (at == e->groups.end()) return fail(EADDRNOTAVAIL);
  e->groups.erase(at);
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Sending.

// The one that was set; or else the one that has the socket's address.
unsigned network::group_interface(const endpoint& e) noexcept {
  const int set = e.family == AF_INET6 ? e.value_of(IPPROTO_IPV6, IPV6_MULTICAST_IF, 0)
                                       : e.value_of(IPPROTO_IP, IP_MULTICAST_IF, 0);
  if (set != 0) return static_cast<unsigned>(set);
  return e.local.length != 0 && is_loopback(e.local) ? loopback : outer;
}

// A socket that is bound to a group speaks with the interface's address, as one that is bound to all does.
net::address network::source_for_group(const endpoint& e, int family, unsigned interface) const {
  const bool is_bound = e.local.length != 0;
  std::error_code none;
  net::address from;
  if (is_bound && !is_any(e.local) && !is_group(e.local))
    from = e.local;
  else if (interface == loopback)
    from = net::parse_address(family == AF_INET6 ? "[::1]:0" : "127.0.0.1:0", none);
  else
    from = hosts_.outer_address(e.host, family);
  if (from.length == 0) errno = ENETUNREACH;
  from.set_port(is_bound ? e.local.port() : 0);
  return from;
}

// A copy for each host, each of which has its own fate. Who asks for none on its own host gets one all the same by way
// of the loopback interface, which has nowhere else to bring it.
long network::send_to_group(const endpoint& e, std::vector<std::byte> bytes, const net::address& to) {
  const auto interface = group_interface(e);
  const auto from = source_for_group(e, to.family(), interface);
  if (from.length == 0) return -1;
  const bool v6 = e.family == AF_INET6;
  const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const bool loops = e.value_of(level, v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, 1) != 0;
  const int hops = e.value_of(level, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, 1);
  const bool leaves = interface == outer && hops > 0 && !is_loopback(from) && !stays_on_host(to);
  const auto size = static_cast<long>(bytes.size());
  event copy{.what = kind::datagram, .to = -1, .from = e.id, .bytes = std::move(bytes), .address = to, .source = from};
  copy.interface = interface;
  for (host_id h = 0; h < hosts_.count(); ++h) {
    if (h == e.host ? interface == outer && !loops : !leaves) continue;
    copy.along = {e.host, h};
    std::vector<endpoint*> here;
    if (h == e.host) here = hearers_of(copy);
    endpoint* last = nullptr;  // On one host nothing overtakes.
    for (auto* each : here)
      if (!last || each->last_arrival_at > last->last_arrival_at) last = each;
    send_off(copy, last);
    if (chance(options_.one_in_duplicated)) send_off(copy, last);
    for (auto* each : here) each->last_arrival_at = last->last_arrival_at;
  }
  return size;
}

// ---------------------------------------------------------------------------------------------------------------
// Receiving.

// If one on the host is in the group, all are who have the port, and not another address.
std::vector<network::endpoint*> network::hearers_of(const event& e) {
  bool has_joined = false;
  std::vector<endpoint*> all;
  for (auto& [id, each] : endpoints_) {
    if (each->host != e.along.to) continue;
    for (const auto& m : each->groups)
      has_joined = has_joined || (m.interface == e.interface && same_host(m.group, e.address));
    if (!each->owns_name || !each->is_datagram() || each->family != e.address.family()) continue;
    if (each->local.port() != e.address.port() || !(is_any(each->local) || same_host(each->local, e.address))) continue;
    const bool has_peer = each->is == state::connected;
    if (has_peer && !(same_host(each->remote, e.source) && each->remote.port() == e.source.port())) continue;
    all.push_back(each.get());
  }
  return has_joined ? all : std::vector<endpoint*>{};
}

void network::group_datagram_arrives(const event& e, sched::runnable_batch& out) {
  for (auto* each : hearers_of(e)) queue(*each, {e.bytes, e.source}, out);
}

}  // namespace thrum::sim
