// Rules 1, 2, 5, 6, 8, 9 and 10; the others ask for what nobody knows here.
#include "dns/address_order.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {
namespace {

namespace beside = system::beside;

using bits = std::array<unsigned char, 16>;  // IPv4 as it is written in IPv6, ::ffff:192.0.2.1

bits bits_of(const address& a) noexcept {
  bits all{};
  if (a.family() == AF_INET6) {
    std::memcpy(all.data(), &reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr, all.size());
  } else {
    all[10] = all[11] = 0xff;
    std::memcpy(&all[12], &reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr, sizeof(in_addr));
  }
  return all;
}

std::size_t common_bits(const bits& a, const bits& b) noexcept {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (const auto differs = static_cast<unsigned char>(a[i] ^ b[i]))
      return 8 * i + static_cast<std::size_t>(std::countl_zero(differs));
  return 8 * a.size();
}

// Section 2.1, with c-ares' additions: the first that fits.
struct policy {
  bits prefix;
  std::size_t length;
  int precedence, label;
};
constexpr policy policies[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, 50, 0},  // ::1
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 35, 4},         // IPv4
    {{0x20, 0x02}, 16, 30, 2},                                       // 6to4
    {{0x20, 0x01}, 32, 5, 5},                                        // Teredo
    {{0xfc}, 7, 3, 13},                                              // Unique local addresses
    {{}, 96, 1, 3},                                                  // IPv4-compatible ones
    {{0xfe, 0xc0}, 10, 1, 11},                                       // Site-local ones
    {{0x3f, 0xfe}, 16, 1, 12},                                       // The 6bone's
    {{}, 0, 40, 1},
};

const policy& policy_of(const bits& a) noexcept {
  return *std::find_if(std::begin(policies), std::end(policies),
                       [&](const policy& p) { return common_bits(a, p.prefix) >= p.length; });
}

// Section 3.1 and 3.2.
int scope_of(const bits& a) noexcept {
  constexpr int link_local = 2, site_local = 5, global = 14;
  constexpr std::size_t v4_at = 12;
  const auto& p = policy_of(a);
  if (p.label == 4) return a[v4_at] == 127 || (a[v4_at] == 169 && a[v4_at + 1] == 254) ? link_local : global;
  if (a[0] == 0xff) return a[1] & 0x0f;
  if (p.label == 0 || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)) return link_local;
  return p.label == 11 ? site_local : global;
}

struct candidate {
  endpoint at;
  bits there{}, here{};
  bool is_v6 = false;
  bool is_reached = false;  // From `here`.

  explicit candidate(const endpoint& e) : at(e) {
    const auto to = e.to_address();
    there = bits_of(to);
    is_v6 = to.family() == AF_INET6;
    const int fd = beside::open(to.family(), SOCK_DGRAM);
    if (fd < 0) return;
    address mine{.length = sizeof mine.storage};
    is_reached = beside::connect(fd, to.get(), to.length) == 0 &&
                 beside::local_name(fd, reinterpret_cast<sockaddr*>(&mine.storage), &mine.length) == 0;
    if (is_reached) here = bits_of(mine);
    beside::close(fd);
  }
  bool scopes_match() const noexcept { return is_reached && scope_of(here) == scope_of(there); }
  bool labels_match() const noexcept {
    constexpr int label_of_none = 1;
    return policy_of(there).label == (is_reached ? policy_of(here).label : label_of_none);
  }
};

bool comes_before(const candidate& a, const candidate& b) noexcept {
  if (a.is_reached != b.is_reached) return a.is_reached;
  if (a.scopes_match() != b.scopes_match()) return a.scopes_match();
  if (a.labels_match() != b.labels_match()) return a.labels_match();
  const int first = policy_of(a.there).precedence, second = policy_of(b.there).precedence;
  if (first != second) return first > second;
  if (scope_of(a.there) != scope_of(b.there)) return scope_of(a.there) < scope_of(b.there);
  if (!a.is_reached || !a.is_v6 || !b.is_v6) return false;
  return common_bits(a.here, a.there) > common_bits(b.here, b.there);
}

}  // namespace

void order_addresses(std::vector<endpoint>& all) {
  std::vector<candidate> candidates(all.begin(), all.end());
  // By insertion: equal ones keep their order.
  const auto first = candidates.begin();
  for (auto i = first; i != candidates.end(); ++i) std::rotate(std::upper_bound(first, i, *i, comes_before), i, i + 1);
  std::transform(candidates.begin(), candidates.end(), all.begin(), [](const candidate& c) { return c.at; });
}

}  // namespace thrum::net
