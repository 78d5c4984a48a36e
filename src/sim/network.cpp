// Sockets, their addresses and options, and when what they do to each other arrives.
#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "sched/park.hpp"
#include "sim/allocations.hpp"
#include "sim/chooser.hpp"
#include "sim/disks.hpp"

namespace thrum::sim {
namespace {

constexpr std::uint16_t first_port = 40000;

using sched::fd_watch;

}  // namespace

network::network(const options& o, sched::clock_source& clock, hosts& h, disks& d)
    : options_(o),
      clock_(clock),
      hosts_(h),
      disks_(d),
      names_(o.seed),
      rng_(make_rng(o.seed, 5)),
      next_number_(first_socket_number),
      next_port_(first_port) {
  for (const auto address : {default_name_server, default_name_server_v6}) hosts_.named(address);
}

// ---------------------------------------------------------------------------------------------------------------
// Endpoints.

int network::fail(int error) noexcept {
  errno = error;
  return -1;
}

// Parcels that nobody has received close what they carry, which then is not ours any more.
network::~network() { descriptors_.clear(); }

// Not ours: closed, or the kernel's, which the program has adopted.
int network::no_such(int fd) noexcept { return is_kernels(fd) ? EOPNOTSUPP : EBADF; }

net::address network::copy_of(const void* address, socklen_t length) noexcept {
  net::address a{.length = length};
  std::memcpy(&a.storage, address, length);
  return a;
}

network::endpoint* network::find(int id) noexcept {
  const auto at = endpoints_.find(id);
  return at == endpoints_.end() ? nullptr : at->second.get();
}

network::endpoint* network::of(int fd) noexcept {
  const auto at = descriptors_.find(fd);
  return at == descriptors_.end() ? nullptr : at->second;
}

network::endpoint& network::add(int family, int type, host_id host) {
  auto fresh = std::make_unique<endpoint>();
  fresh->id = next_number_++;
  fresh->family = family;
  fresh->type = type;
  fresh->host = fresh->peer_host = host;
  auto& e = *fresh;
  endpoints_.emplace(e.id, std::move(fresh));
  return e;
}

// Its first descriptor has the number that it is known by itself.
int network::describe(endpoint& e, int fd) {
  descriptors_.emplace(fd, &e);
  ++e.descriptors;
  return fd;
}

void network::join(endpoint& a, endpoint& b) noexcept {
  a.is = b.is = state::connected;
  a.other = b.id;
  b.other = a.id;
}

int network::watch(int fd, fd_watch& w) noexcept {
  auto* e = of(fd);
  if (!e) return no_such(fd);
  std::erase_if(e->watched, [&](const registration& r) { return r.fd == fd; });
  e->watched.push_back({fd, &w, w.generation()});
  schedule_at(clock_.now_ns(), {.what = kind::look, .to = e->id});
  return 0;
}

unsigned network::readiness(const endpoint& e) noexcept {
  unsigned edges = 0;
  if (!e.inbox.empty() || !e.pending.empty() || !e.datagrams.empty()) edges |= fd_watch::can_read;
  if (e.changes && e.changes->has_events()) edges |= fd_watch::can_read;
  if (e.ended) edges |= fd_watch::read_ended;
  if (e.is == state::connected || e.is_datagram()) edges |= fd_watch::can_write;
  if (e.error != 0 || e.is_reset) edges |= fd_watch::ended;
  return edges;
}

void network::tell(endpoint& e, unsigned edges, sched::runnable_batch& out) noexcept {
  if (edges == 0) return;
  if (auto* s = e.set < 0 ? nullptr : find(e.set)) tell(*s, fd_watch::can_read, out);
  if (e.watched.empty()) return;
  if (chance(options_.one_in_spurious)) edges |= fd_watch::can_read | fd_watch::can_write;
  for (const auto& r : e.watched) r.watch->ready(edges, r.generation, out);
}

// ---------------------------------------------------------------------------------------------------------------
// Ports.

namespace {

bool overlap(const net::address& a, const net::address& b) noexcept {
  return a.family() == b.family() && a.port() == b.port() && (is_any(a) || is_any(b) || same_host(a, b));
}

}  // namespace

// Several may have an address if all of them have said so.
bool network::is_taken(const net::address& wanted, const endpoint& by) const noexcept {
  return std::any_of(endpoints_.begin(), endpoints_.end(), [&](const auto& known) {
    const endpoint& e = *known.second;
    if (!e.owns_name || e.type != by.type || e.host != by.host || !overlap(e.local, wanted)) return false;
    const auto both = [&](int option) { return e.value_of(option, 0) != 0 && by.value_of(option, 0) != 0; };
    return !both(SO_REUSEPORT) && !(by.is_datagram() && both(SO_REUSEADDR));
  });
}

std::uint16_t network::free_port() noexcept {
  return next_port_ == UINT16_MAX ? next_port_ = first_port : next_port_++;
}

int network::bind_port(endpoint& e, net::address wanted) {
  if (!is_group(wanted) && hosts_.owner_of(wanted, e.host) != e.host) return fail(EADDRNOTAVAIL);
  if (wanted.port() == 0) {
    do wanted.set_port(free_port());
    while (is_taken(wanted, e));
  } else if (is_taken(wanted, e)) {
    return fail(EADDRINUSE);
  }
  e.local = wanted;
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Hosts and links.

std::string network::introduce(std::string_view host) {
  const own_allocations unwatched;
  return hosts_.name_of(hosts_.named(host));
}

void network::set(std::string_view from, std::string_view to, const link& l) {
  const own_allocations unwatched;
  const path p{hosts_.named(from), hosts_.named(to)};
  if (p.from == p.to) throw std::invalid_argument("thrum: sim: a link is between two hosts");
  if (l.latency.count() < 0) throw std::invalid_argument("thrum: sim: a link's latency is not negative");
  hosts_.set(p, l, clock_.now_ns());
  if (l.cut) return;
  for (auto& e : std::exchange(held_, {}))
    if (e.along == p)
      post(std::move(e), find(e.to));
    else
      held_.push_back(std::move(e));
}

void network::break_connections(std::string_view a, std::string_view b) {
  const own_allocations unwatched;
  const path p{hosts_.named(a), hosts_.named(b)};
  sched::runnable_batch woken;
  for (auto& [id, e] : endpoints_)
    if (!e->is_datagram() && e->is == state::connected && !e->is_reset && (from_to(*e) == p || from_to(*e) == p.back()))
      break_off(*e, ECONNRESET, woken);
  sched::make_runnable(woken);
}

// ---------------------------------------------------------------------------------------------------------------
// Events.

std::int64_t network::next_event_at() const noexcept {
  return events_.empty() ? sched::never : events_.begin()->first.first;
}

void network::schedule_at(std::int64_t at, event e) { events_.emplace(std::pair{at, posted_++}, std::move(e)); }

void network::schedule_along(event e, endpoint* in_order_to) {
  auto at = hosts_.arrival_at(e.along, e.bytes.size(), clock_.now_ns());
  const auto least = options_.latency_min.count(), most = std::max(least, options_.latency_max.count());
  at += least + static_cast<std::int64_t>(rng_.next() % static_cast<std::uint64_t>(most - least + 1));
  if (in_order_to) at = in_order_to->last_arrival_at = std::max(at, in_order_to->last_arrival_at);
  schedule_at(at, std::move(e));
}

// On its way, or held until there is one. A reset is not sent again.
void network::post(event e, endpoint* in_order_to) {
  if (!hosts_.is_cut(e.along))
    schedule_along(std::move(e), in_order_to);
  else if (e.what != kind::reset)
    held_.push_back(std::move(e));
}

void network::deliver(std::int64_t now, sched::runnable_batch& out) noexcept {
  for (announce_changes(); next_event_at() <= now; announce_changes()) {
    auto e = std::move(events_.extract(events_.begin()).mapped());
    happen(e, out);
  }
}

void network::happen(event& e, sched::runnable_batch& out) {
  if (e.what == kind::request) return request_arrives(e, out);
  if (e.what == kind::datagram) return datagram_arrives(e, out);
  if (e.what == kind::answer) return answer(e);
  auto* to = find(e.to);
  if (!to) {  // It is gone: whoever sends to it learns that.
    auto* from = find(e.from);
    if (from && (e.what == kind::data || e.what == kind::accepted))
      post({.what = kind::reset, .to = e.from, .along = e.along.back()}, from);
    return;
  }
  switch (e.what) {
    case kind::look:
      return tell(*to, to->members.empty() ? readiness(*to) : fd_watch::can_read, out);  // A set is looked at.
    case kind::refused:
      return break_off(*to, ECONNREFUSED, out);
    case kind::accepted:
      to->is = state::connected;
      to->other = e.from;
      return tell(*to, fd_watch::can_write, out);
    case kind::data:
      return data_arrives(e, out);
    case kind::end:
      if (to->is_name_servers) return end(to->id);
      to->ended = true;
      return tell(*to, fd_watch::can_read | fd_watch::read_ended, out);
    case kind::reset:
      if (to->is_name_servers) return end(to->id);
      return break_off(*to, ECONNRESET, out);
    case kind::room:
      return tell(*to, fd_watch::can_write, out);
    case kind::gives_up:
      return give_up(e, out);
    case kind::unreachable:
      return is_unreachable(e, *to, out);
    case kind::request:
    case kind::datagram:
    case kind::answer:
      return;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Options.

namespace {

constexpr int buffer_size = 212'992;  // Linux's default, which is the most as well.
constexpr int buffer_size_min = 2304;

bool is_size(int level, int option) noexcept {
  return level == SOL_SOCKET && (option == SO_RCVBUF || option == SO_SNDBUF);
}

// Of multicast, in the version of IP that the socket has.
bool is_groups(int family, int level, int option) noexcept {
  if (family == AF_INET6 && level == IPPROTO_IPV6)
    return option == IPV6_MULTICAST_HOPS || option == IPV6_MULTICAST_LOOP || option == IPV6_MULTICAST_IF;
  return family == AF_INET && level == IPPROTO_IP &&
         (option == IP_MULTICAST_TTL || option == IP_MULTICAST_LOOP || option == IP_MULTICAST_IF);
}

bool is_hops(int level, int option) noexcept {
  return level == IPPROTO_IPV6 ? option == IPV6_MULTICAST_HOPS : level == IPPROTO_IP && option == IP_MULTICAST_TTL;
}

bool is_loop(int level, int option) noexcept {
  return level == IPPROTO_IPV6 ? option == IPV6_MULTICAST_LOOP : level == IPPROTO_IP && option == IP_MULTICAST_LOOP;
}

int default_of(int level, int option) noexcept {
  if (is_size(level, option)) return buffer_size;
  return is_hops(level, option) || is_loop(level, option) ? 1 : 0;
}

// 0, or why there is none.
int check_option(int family, int type, int level, int option) noexcept {
  if (is_groups(family, level, option)) return type == SOCK_DGRAM ? 0 : ENOPROTOOPT;
  if (level == IPPROTO_TCP && option == TCP_NODELAY) return family != AF_UNIX && type == SOCK_STREAM ? 0 : ENOPROTOOPT;
  if (is_size(level, option)) return 0;
  constexpr int known[] = {SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_LINGER};
  const bool is_known = level == SOL_SOCKET && std::find(std::begin(known), std::end(known), option) != std::end(known);
  return is_known ? 0 : EOPNOTSUPP;
}

}  // namespace

int network::endpoint::value_of(int option, int otherwise) const noexcept {
  return value_of(SOL_SOCKET, option, otherwise);
}

int network::endpoint::value_of(int level, int option, int otherwise) const noexcept {
  const auto at = options.find({level, option});
  return at == options.end() ? otherwise : at->second;
}

int network::set_option(int fd, int level, int option, int value) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (const int error = check_option(e->family, e->type, level, option)) return fail(error);
  if (is_size(level, option)) value = std::max(2 * std::clamp(value, 0, buffer_size), buffer_size_min);
  if (is_hops(level, option)) {
    if (value < -1 || value > 255) return fail(EINVAL);
    if (value == -1) value = 1;
  }
  e->options[{level, option}] = value;
  return 0;
}

int network::get_option(int fd, int level, int option, int& value) noexcept {
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (level == SOL_SOCKET && option == SO_DOMAIN) return value = e->family, 0;
  if (level == SOL_SOCKET && option == SO_ACCEPTCONN) return value = e->is == state::listening, 0;
  if (const int error = check_option(e->family, e->type, level, option)) return fail(error);
  value = e->value_of(level, option, default_of(level, option));
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Calls on sockets of every kind. Those of streams and of datagrams have their own files.

int network::open(int family, int type) noexcept {
  const own_allocations unwatched;
  auto& e = add(family, type, hosts_.of_caller());
  return describe(e, e.id);
}

int network::open_pair(int family, int type, int (&ends)[2]) noexcept {
  const own_allocations unwatched;
  const auto host = hosts_.of_caller();
  auto &a = add(family, type, host), &b = add(family, type, host);
  join(a, b);
  ends[0] = describe(a, a.id);
  ends[1] = describe(b, b.id);
  return 0;
}

int network::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (e->owns_name) return fail(EINVAL);
  const auto wanted = copy_of(address, length);
  if ((e->is_unix() ? bind_name(*e, wanted) : bind_port(*e, wanted)) != 0) return -1;
  e->owns_name = true;
  return 0;
}

int network::connect(int fd, const sockaddr* address, socklen_t length) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  const auto to = copy_of(address, length);
  if (e->is_datagram()) return e->is_unix() ? set_unix_peer(*e, to) : set_udp_peer(*e, to);
  if (e->is == state::connected) return fail(EISCONN);
  if (e->is != state::fresh) return fail(EALREADY);
  return e->is_unix() ? connect_unix(*e, to) : connect_tcp(*e, to);
}

int network::take_error(int fd) noexcept {
  auto* e = of(fd);
  return e ? std::exchange(e->error, 0) : fail(no_such(fd));
}

int network::local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  std::memcpy(address, &e->local.storage, std::min(*length, e->local.length));
  *length = e->local.length;
  return 0;
}

int network::peer_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::connected || e->is_reset) return fail(ENOTCONN);
  std::memcpy(address, &e->remote.storage, std::min(*length, e->remote.length));
  *length = e->remote.length;
  return 0;
}

int network::adopt(int fd) noexcept { return of(fd) ? 0 : fail(no_such(fd)); }

// Also the kernel's, and files, which a program has received.
void network::close(int fd) noexcept {
  const own_allocations unwatched;
  if (is_kernels(fd)) ::close(fd);
  if (is_files(fd)) disks_.close(fd);
  const auto known = descriptors_.extract(fd);
  if (!known) return;
  auto& e = *known.mapped();
  std::erase_if(e.watched, [&](const registration& r) { return r.fd == fd; });
  if (--e.descriptors == 0) end(e.id);
}

// Connections that nobody has accepted are reset.
void network::end(int id) {
  const auto known = endpoints_.extract(id);
  const endpoint& gone = *known.mapped();
  for (const int waiting : gone.pending) hang_up(*endpoints_.extract(waiting).mapped(), true);
  for (const int member : gone.members)
    if (auto* e = of(member)) e->set = -1;
  if (gone.is_datagram())
    make_room(gone);
  else
    hang_up(gone, !gone.is_unix() && gone.value_of(SO_LINGER, 0) != 0);
}

}  // namespace thrum::sim
