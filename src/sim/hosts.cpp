// Names, addresses and links of simulated hosts.
#include "sim/hosts.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include <netinet/in.h>

namespace thrum::sim {
namespace {

// Of the host without a name, as others see it: addresses that are reserved for documentation.
constexpr const char *other_v4 = "192.0.2.1:0", *other_v6 = "[2001:db8::1]:0";

const in_addr& v4(const net::address& a) noexcept { return reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr; }
const in6_addr& v6(const net::address& a) noexcept {
  return reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr;
}

net::address parse(std::string_view host) {
  std::error_code error;
  const std::string text(host);
  const bool bare_v6 = text.find(':') != text.npos && !text.starts_with('[');
  const auto a = net::parse_address(bare_v6 ? "[" + text + "]:0" : text + ":0", error);
  if (text.empty() || error || is_any(a) || is_loopback(a))
    throw std::invalid_argument("thrum: sim: '" + text + "' is no numeric address that a host can have");
  return a;
}

std::string without_port(const net::address& a) {
  const auto text = net::to_string(a);
  return text.substr(0, text.rfind(':'));
}

}  // namespace

bool is_any(const net::address& a) noexcept {
  if (a.family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&v6(a)) != 0;
  return v4(a).s_addr == htonl(INADDR_ANY);
}

bool is_loopback(const net::address& a) noexcept {
  if (a.family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&v6(a)) != 0;
  return ntohl(v4(a).s_addr) >> 24 == IN_LOOPBACKNET;
}

bool is_group(const net::address& a) noexcept {
  if (a.family() == AF_INET6) return IN6_IS_ADDR_MULTICAST(&v6(a)) != 0;
  return IN_MULTICAST(ntohl(v4(a).s_addr));
}

bool same_host(const net::address& a, const net::address& b) noexcept {
  if (a.family() != b.family()) return false;
  if (a.family() == AF_INET6) return IN6_ARE_ADDR_EQUAL(&v6(a), &v6(b)) != 0;
  return v4(a).s_addr == v4(b).s_addr;
}

host_id hosts::named(std::string_view name) {
  if (const auto known = ids_.find(name); known != ids_.end()) return known->second;
  const auto a = parse(name);
  const auto id = ids_.try_emplace(without_port(a), static_cast<host_id>(ids_.size())).first->second;
  addresses_.try_emplace(id, a);
  return id;
}

const std::string& hosts::name_of(host_id h) const noexcept {
  return std::find_if(ids_.begin(), ids_.end(), [&](const auto& known) { return known.second == h; })->first;
}

host_id hosts::of_caller() {
  const auto* name = detail::sim_host.find();
  return name ? named(*name) : other_host;
}

bool hosts::speaks_v6(host_id h) const { return h != other_host && addresses_.at(h).family() == AF_INET6; }

host_id hosts::owner_of(const net::address& a, host_id seen_from) const {
  if (is_any(a) || is_loopback(a)) return seen_from;
  const auto known = ids_.find(without_port(a));
  return known == ids_.end() ? other_host : known->second;
}

net::address hosts::own_address(host_id mine, const net::address& there) const {
  return owner_of(there, mine) == mine ? there : outer_address(mine, there.family());
}

net::address hosts::outer_address(host_id mine, int family) const {
  std::error_code none;
  const auto a =
      mine == other_host ? net::parse_address(family == AF_INET6 ? other_v6 : other_v4, none) : addresses_.at(mine);
  return a.family() == family ? a : net::address{};
}

void hosts::set(const path& p, const link& l, std::int64_t now_ns) {
  auto& w = ways_[p];
  if (!w.as.cut) w.cut_at = now_ns;
  w.as = l;
}

const hosts::way* hosts::find(const path& p) const noexcept {
  const auto at = ways_.find(p);
  return at == ways_.end() ? nullptr : &at->second;
}

bool hosts::is_cut(const path& p) const noexcept {
  const auto* w = find(p);
  return w && w->as.cut;
}

bool hosts::is_mute_since(const path& p, std::int64_t since_ns) const noexcept {
  for (const auto& each : {p, p.back()})
    if (const auto* w = find(each); w && w->as.cut && w->cut_at <= since_ns) return true;
  return false;
}

std::int64_t hosts::arrival_at(const path& p, std::size_t bytes, std::int64_t now_ns) noexcept {
  const auto at = ways_.find(p);
  if (at == ways_.end()) return now_ns;
  auto& w = at->second;
  if (w.as.bytes_per_second == 0) return now_ns + w.as.latency.count();
  const auto takes = static_cast<double>(bytes) * 1e9 / static_cast<double>(w.as.bytes_per_second);
  w.free_at = std::max(w.free_at, now_ns) + static_cast<std::int64_t>(std::min(takes, 1e15));
  return w.free_at + w.as.latency.count();
}

}  // namespace thrum::sim
