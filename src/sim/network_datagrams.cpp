// Datagrams: how they are taken and handed out, and the way of those of UDP.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>

#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {
namespace {

constexpr std::size_t udp_max_v4 = 65'507, udp_max_v6 = 65'527;
constexpr std::size_t charged_beside = 768;  // About what Linux keeps for each datagram.
constexpr int receive_buffer = 212'992;      // Linux's default.

using sched::fd_watch;

std::vector<std::byte> gathered(const msghdr& m) {
  std::vector<std::byte> all;
  for (std::size_t i = 0; i < m.msg_iovlen; ++i) {
    const auto* first = static_cast<const std::byte*>(m.msg_iov[i].iov_base);
    all.insert(all.end(), first, first + m.msg_iov[i].iov_len);
  }
  return all;
}

// How much there was room for.
std::size_t scatter(std::span<const std::byte> data, const msghdr& m) noexcept {
  const auto size = data.size();
  for (std::size_t i = 0; i < m.msg_iovlen && !data.empty(); ++i) {
    const auto n = std::min(data.size(), m.msg_iov[i].iov_len);
    std::copy_n(data.begin(), n, static_cast<std::byte*>(m.msg_iov[i].iov_base));
    data = data.subspan(n);
  }
  return size - data.size();
}

bool is_broadcast(const net::address& a) noexcept {
  return a.family() == AF_INET && !is_group(a) &&
         ntohl(reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr.s_addr) >= INADDR_UNSPEC_GROUP;
}

bool same_place(const net::address& a, const net::address& b) noexcept {
  return same_host(a, b) && a.port() == b.port();
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Calls. Streams have no messages but those that carry a descriptor.

long network::send_message(int fd, const msghdr& m) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (!e->is_datagram()) return send_parcel(*e, m);
  if (is_interrupted()) return fail(EINTR);
  if (e->error != 0) return fail(std::exchange(e->error, 0));
  const auto to = m.msg_name ? copy_of(m.msg_name, m.msg_namelen) : net::address{};
  return e->is_unix() ? send_unix(*e, gathered(m), to) : send_udp(*e, gathered(m), to);
}

long network::receive_message(int fd, msghdr& m, int flags) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  const auto room = std::exchange(m.msg_controllen, 0);
  m.msg_flags = 0;
  if (!e->is_datagram()) return receive_parcel(*e, m, room);
  if (is_interrupted()) return fail(EINTR);
  if (e->error != 0) return fail(std::exchange(e->error, 0));
  if (e->datagrams.empty()) return fail(EAGAIN);
  const auto got = std::move(e->datagrams.front());
  e->datagrams.pop_front();
  e->charged -= got.bytes.size() + charged_beside;
  const auto n = scatter(got.bytes, m);
  if (n < got.bytes.size()) m.msg_flags |= MSG_TRUNC;
  if (m.msg_name) std::memcpy(m.msg_name, &got.from.storage, std::min(m.msg_namelen, got.from.length));
  m.msg_namelen = got.from.length;
  if (e->is_unix()) make_room(*e);
  return static_cast<long>(flags & MSG_TRUNC ? got.bytes.size() : n);
}

// ---------------------------------------------------------------------------------------------------------------
// UDP.

// The address it speaks with to that one. That of the loopback leads nowhere else.
net::address network::source_of(const endpoint& e, const net::address& to) const {
  if (is_group(to)) return source_for_group(e, to.family(), group_interface(e));
  const bool is_bound = e.local.length != 0;
  auto from = is_bound && !is_any(e.local) && !is_group(e.local) ? e.local : hosts_.own_address(e.host, to);
  if (from.length == 0) return errno = ENETUNREACH, from;
  if (hosts_.owner_of(from, hosts_.owner_of(to, e.host)) != e.host) return errno = EINVAL, net::address{};
  from.set_port(is_bound ? e.local.port() : 0);
  return from;
}

int network::set_udp_peer(endpoint& e, const net::address& to) {
  if (to.family() != e.family) return fail(EAFNOSUPPORT);
  if (is_broadcast(to)) return fail(EOPNOTSUPP);
  auto mine = source_of(e, to);
  if (mine.length == 0) return -1;
  if (!std::exchange(e.owns_name, true)) {
    do mine.set_port(free_port());
    while (is_taken(mine, e));
  }
  e.local = mine;
  e.remote = to;
  e.peer_host = hosts_.owner_of(to, e.host);
  e.is = state::connected;
  return 0;
}

long network::send_udp(endpoint& e, std::vector<std::byte> bytes, const net::address& wanted) {
  const bool to_peer = wanted.length == 0;
  if (to_peer && e.is != state::connected) return fail(EDESTADDRREQ);
  const auto& to = to_peer ? e.remote : wanted;
  if (to.family() != e.family) return fail(EAFNOSUPPORT);
  if (to.port() == 0) return fail(EINVAL);
  if (is_broadcast(to)) return fail(EOPNOTSUPP);
  if (bytes.size() > (e.family == AF_INET6 ? udp_max_v6 : udp_max_v4)) return fail(EMSGSIZE);
  if (is_group(to)) return send_to_group(e, std::move(bytes), to);
  const auto from = source_of(e, to);
  if (from.length == 0) return -1;
  const auto size = static_cast<long>(bytes.size());
  const path along{e.host, hosts_.owner_of(to, e.host)};
  // On one host nothing overtakes.
  auto* here = along.from == along.to ? receiver_of(to, from, along.to) : nullptr;
  const event sent{.what = kind::datagram,
                   .to = -1,
                   .from = e.id,
                   .along = along,
                   .bytes = std::move(bytes),
                   .address = to,
                   .source = from};
  send_off(sent, here);
  if (chance(options_.one_in_duplicated)) send_off(sent, here);
  return size;
}

// Not held where the link is cut: it is lost.
void network::send_off(const event& e, endpoint* in_order_to) {
  if (!hosts_.is_cut(e.along) && !chance(options_.one_in_lost)) schedule_along(e, in_order_to);
}

// The one that hears only the sender, or else one of those at that very address, or at all of the host's.
network::endpoint* network::receiver_of(const net::address& to, const net::address& from, host_id host) {
  std::vector<endpoint*> best;
  int most = -1;
  for (auto& [id, e] : endpoints_) {
    if (!e->owns_name || !e->is_datagram() || e->host != host || e->family != to.family()) continue;
    if (e->local.port() != to.port() || !(is_any(e->local) || same_host(e->local, to))) continue;
    const bool is_connected = e->is == state::connected;
    if (is_connected && !same_place(e->remote, from)) continue;
    const int points = (is_connected ? 2 : 0) + (is_any(e->local) ? 0 : 1);
    if (points > most) best.clear();
    if (points >= most) best.push_back(e.get());
    most = std::max(points, most);
  }
  if (best.empty()) return nullptr;
  // Of those who share the port each has its senders; otherwise it is the last one's.
  const bool shared = best.back()->value_of(SO_REUSEPORT, 0) != 0;
  return shared ? best[(options_.seed + from.port()) % best.size()] : best.back();
}

// A full queue takes no more. Nobody there is told by ICMP, which is a datagram as well.
void network::datagram_arrives(event& e, sched::runnable_batch& out) {
  const bool is_udp = e.to < 0;
  if (is_udp && is_group(e.address)) return group_datagram_arrives(e, out);
  auto* to = is_udp ? receiver_of(e.address, e.source, e.along.to) : find(e.to);
  if (!to && is_udp && names_.is_server(e.address)) return query_arrives(e);
  if (!to) {
    const auto back = e.along.back();
    if (is_udp) send_off({.what = kind::unreachable, .to = e.from, .along = back, .address = e.address}, nullptr);
    return;
  }
  if (!is_udp) --to->under_way;
  queue(*to, {std::move(e.bytes), e.source}, out);
}

void network::queue(endpoint& at, datagram d, sched::runnable_batch& out) {
  if (!at.is_unix() && at.charged >= static_cast<std::size_t>(at.value_of(SO_RCVBUF, receive_buffer))) return;
  at.charged += d.bytes.size() + charged_beside;
  at.datagrams.push_back(std::move(d));
  tell(at, fd_watch::can_read, out);
}

// Only who has that peer can be meant.
void network::is_unreachable(const event& e, endpoint& sender, sched::runnable_batch& out) {
  if (sender.is != state::connected || !same_place(sender.remote, e.address)) return;
  sender.error = ECONNREFUSED;
  tell(sender, fd_watch::can_read | fd_watch::can_write | fd_watch::ended, out);
}

}  // namespace thrum::sim
