// What sockets do to each other, and when it arrives.
#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <netinet/in.h>
#include <unistd.h>

#include "sched/park.hpp"
#include "sim/allocations.hpp"
#include "sim/chooser.hpp"

namespace thrum::sim {
namespace {

constexpr int first_fd = 1 << 30;  // Beyond the kernel's, so that neither takes the other's.
constexpr std::uint16_t first_port = 40000;
constexpr std::size_t inbox_max = std::size_t{64} << 10;
constexpr std::uint32_t one_in_split = 4;
constexpr std::uint32_t one_in_short_sends = 16;
// Linux's defaults: six requests, and fifteen times the same data.
constexpr std::chrono::seconds patience_connecting{127}, patience_sending{924};

using sched::fd_watch;

int fail(int error) noexcept {
  errno = error;
  return -1;
}

// Not ours: closed, or the kernel's, which the program has adopted.
int no_such(int fd) noexcept { return fd >= first_fd ? EBADF : EOPNOTSUPP; }

}  // namespace

network::network(const options& o, sched::clock_source& clock, hosts& h)
    : options_(o), clock_(clock), hosts_(h), rng_(make_rng(o.seed, 5)), next_fd_(first_fd), next_port_(first_port) {}

// ---------------------------------------------------------------------------------------------------------------
// Endpoints.

network::endpoint* network::find(int fd) noexcept {
  const auto at = endpoints_.find(fd);
  return at == endpoints_.end() ? nullptr : at->second.get();
}

network::endpoint& network::add(int family, host_id host) {
  auto fresh = std::make_unique<endpoint>();
  fresh->fd = next_fd_++;
  fresh->family = family;
  fresh->host = host;
  auto& e = *fresh;
  endpoints_.emplace(e.fd, std::move(fresh));
  return e;
}

// In the order of their opening.
std::vector<network::endpoint*> network::listeners_at(const net::address& wanted, host_id host) {
  std::vector<endpoint*> all;
  for (auto& [fd, e] : endpoints_) {
    if (e->is != state::listening || e->host != host || e->local.port() != wanted.port()) continue;
    if (e->family == wanted.family() && (is_any(e->local) || same_host(e->local, wanted))) all.push_back(e.get());
  }
  return all;
}

std::uint16_t network::free_port() noexcept {
  return next_port_ == UINT16_MAX ? next_port_ = first_port : next_port_++;
}

int network::watch(int fd, fd_watch& w) noexcept {
  auto* e = find(fd);
  if (!e) return no_such(fd);
  e->watched_by = &w;
  e->generation = w.generation();
  schedule_at(clock_.now_ns(), {.what = kind::look, .to = fd});
  return 0;
}

unsigned network::readiness(const endpoint& e) noexcept {
  unsigned edges = 0;
  if (!e.inbox.empty() || !e.pending.empty()) edges |= fd_watch::can_read;
  if (e.ended) edges |= fd_watch::read_ended;
  if (e.is == state::connected) edges |= fd_watch::can_write;
  if (e.error != 0 || e.is_reset) edges |= fd_watch::ended;
  return edges;
}

void network::tell(endpoint& e, unsigned edges, sched::runnable_batch& out) noexcept {
  if (e.watched_by && edges != 0) e.watched_by->ready(edges, e.generation, out);
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
  for (auto& [fd, e] : endpoints_)
    if (e->is == state::connected && !e->is_reset && (from_to(*e) == p || from_to(*e) == p.back()))
      break_off(*e, ECONNRESET, woken);
  sched::make_runnable(woken);
}

// ---------------------------------------------------------------------------------------------------------------
// Events.

std::int64_t network::next_event_at() const noexcept {
  return events_.empty() ? sched::never : events_.begin()->first.first;
}

void network::schedule_at(std::int64_t at, event e) { events_.emplace(std::pair{at, posted_++}, std::move(e)); }

// On its way, or held until there is one. A reset is not sent again.
void network::post(event e, endpoint* in_order_to) {
  if (hosts_.is_cut(e.along)) {
    if (e.what != kind::reset) held_.push_back(std::move(e));
    return;
  }
  auto at = hosts_.arrival_at(e.along, e.bytes.size(), clock_.now_ns());
  const auto least = options_.latency_min.count(), most = std::max(least, options_.latency_max.count());
  at += least + static_cast<std::int64_t>(rng_.next() % static_cast<std::uint64_t>(most - least + 1));
  if (in_order_to) at = in_order_to->last_arrival_at = std::max(at, in_order_to->last_arrival_at);
  schedule_at(at, std::move(e));
}

// Where no answer can come now: who has sent something waits for it so long.
void network::give_up_later(int sender, const path& p, std::chrono::seconds patience) {
  const auto now = clock_.now_ns();
  if (!hosts_.is_mute_since(p, now)) return;
  schedule_at(now + std::chrono::nanoseconds(patience).count(),
              {.what = kind::gives_up, .to = sender, .along = p, .since = now});
}

void network::give_up(const event& e, sched::runnable_batch& out) {
  if (!hosts_.is_mute_since(e.along, e.since)) return;
  auto& sender = *find(e.to);
  if (sender.is_reset) return;
  break_off(sender, ETIMEDOUT, out);
  std::erase_if(held_, [&](const event& h) {
    if (h.from != e.to) return false;
    if (auto* to = find(h.to)) to->under_way -= h.bytes.size();
    return true;
  });
}

void network::deliver(std::int64_t now, sched::runnable_batch& out) noexcept {
  while (next_event_at() <= now) {
    auto e = std::move(events_.extract(events_.begin()).mapped());
    happen(e, out);
  }
}

void network::happen(event& e, sched::runnable_batch& out) {
  if (e.what == kind::request) return request_arrives(e, out);
  auto* to = find(e.to);
  if (!to) {  // It is gone: whoever sends to it learns that.
    auto* from = find(e.from);
    if (from && (e.what == kind::data || e.what == kind::accepted))
      post({.what = kind::reset, .to = e.from, .along = e.along.back()}, from);
    return;
  }
  switch (e.what) {
    case kind::look:
      return tell(*to, readiness(*to), out);
    case kind::refused:
      return break_off(*to, ECONNREFUSED, out);
    case kind::accepted:
      to->is = state::connected;
      to->other = e.from;
      return tell(*to, fd_watch::can_write, out);
    case kind::data:
      return data_arrives(e, out);
    case kind::end:
      to->ended = true;
      return tell(*to, fd_watch::can_read | fd_watch::read_ended, out);
    case kind::reset:
      return break_off(*to, ECONNRESET, out);
    case kind::room:
      return tell(*to, fd_watch::can_write, out);
    case kind::gives_up:
      return give_up(e, out);
    case kind::request:
      return;
  }
}

// The other end's half of the handshake: an endpoint that waits to be accepted.
void network::request_arrives(const event& e, sched::runnable_batch& out) {
  auto* client = find(e.from);
  if (!client || client->is != state::connecting) return;
  const auto host = e.along.to;
  const auto listeners = listeners_at(e.address, host);
  auto* server = listeners.empty() ? nullptr : listeners[rng_.next() % listeners.size()];
  if (!server || server->pending.size() > server->backlog) {
    post({.what = kind::refused, .to = e.from, .along = e.along.back()}, client);
    return;
  }
  auto& mine = add(client->family, host);
  mine.peer_host = client->host;
  mine.is = state::connected;
  mine.local = e.address;
  mine.remote = client->local;
  mine.other = client->fd;
  server->pending.push_back(mine.fd);
  post({.what = kind::accepted, .to = client->fd, .from = mine.fd, .along = e.along.back()}, client);
  tell(*server, fd_watch::can_read, out);
}

void network::data_arrives(event& e, sched::runnable_batch& out) {
  auto& to = *find(e.to);
  to.under_way -= e.bytes.size();
  if (chance(options_.one_in_resets)) {
    if (auto* from = find(e.from)) break_off(*from, ECONNRESET, out);
    return break_off(to, ECONNRESET, out);
  }
  if (to.is_reset) return;
  to.inbox.insert(to.inbox.end(), e.bytes.begin(), e.bytes.end());
  tell(to, fd_watch::can_read, out);
}

// What has arrived and was not read is lost, as with TCP.
void network::break_off(endpoint& e, int error, sched::runnable_batch& out) {
  e.is_reset = true;
  e.error = error;
  e.inbox.clear();
  tell(e, fd_watch::can_read | fd_watch::can_write | fd_watch::ended, out);
}

// ---------------------------------------------------------------------------------------------------------------
// Calls.

int network::open(int family) noexcept {
  const own_allocations unwatched;
  return add(family, hosts_.of_caller()).fd;
}

int network::set_option(int fd, int level, int option, int value) noexcept {
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (level == SOL_SOCKET && option == SO_REUSEPORT) e->shares_port = value != 0;
  return 0;
}

int network::listen(int fd, const sockaddr* address, socklen_t length, int backlog) noexcept {
  const own_allocations unwatched;
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  net::address wanted{.length = length};
  std::memcpy(&wanted.storage, address, length);
  if (hosts_.owner_of(wanted, e->host) != e->host) return fail(EADDRNOTAVAIL);
  if (wanted.port() == 0)
    wanted.set_port(free_port());
  else
    for (const auto* other : listeners_at(wanted, e->host))
      if (!e->shares_port || !other->shares_port) return fail(EADDRINUSE);
  e->local = wanted;
  e->is = state::listening;
  e->backlog = static_cast<std::size_t>(std::max(backlog, 0));
  return 0;
}

int network::accept(int fd) noexcept {
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::listening) return fail(EINVAL);
  if (is_interrupted()) return fail(EINTR);
  if (e->pending.empty()) return fail(EAGAIN);
  const int accepted = e->pending.front();
  e->pending.pop_front();
  return accepted;
}

int network::connect(int fd, const sockaddr* address, socklen_t length) noexcept {
  const own_allocations unwatched;
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (e->is == state::connected) return fail(EISCONN);
  if (e->is != state::fresh) return fail(EALREADY);
  e->remote.length = length;
  std::memcpy(&e->remote.storage, address, length);
  e->local = hosts_.own_address(e->host, e->remote);
  if (e->local.length == 0) return fail(ENETUNREACH);
  e->local.set_port(free_port());
  e->peer_host = hosts_.owner_of(e->remote, e->host);
  e->is = state::connecting;
  give_up_later(fd, from_to(*e), patience_connecting);
  post({.what = kind::request, .to = -1, .from = fd, .along = from_to(*e), .address = e->remote}, nullptr);
  return fail(is_interrupted() ? EINTR : EINPROGRESS);  // It goes on all the same.
}

long network::receive(int fd, std::span<std::byte> buffer, bool peek) noexcept {
  const own_allocations unwatched;
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (is_interrupted()) return fail(EINTR);
  if (!e->inbox.empty()) {
    const auto n = std::min(buffer.size(), e->inbox.size());
    const auto end = e->inbox.begin() + static_cast<std::ptrdiff_t>(n);
    std::copy(e->inbox.begin(), end, buffer.begin());
    if (peek) return static_cast<long>(n);
    e->inbox.erase(e->inbox.begin(), end);
    auto* from = find(e->other);
    if (from && std::exchange(from->wants_room, false))
      post({.what = kind::room, .to = from->fd, .along = from_to(*e)}, nullptr);
    return static_cast<long>(n);
  }
  if (e->error != 0) return fail(std::exchange(e->error, 0));
  if (e->ended || e->is_reset) return 0;
  return fail(e->is == state::connected ? EAGAIN : ENOTCONN);
}

long network::send(int fd, std::span<const std::byte> data) noexcept {
  const own_allocations unwatched;
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (is_interrupted()) return fail(EINTR);
  if (e->error != 0) return fail(std::exchange(e->error, 0));
  if (e->sent_end || e->is_reset) return fail(EPIPE);
  if (e->is != state::connected) return fail(ENOTCONN);
  auto* to = find(e->other);
  if (!to) {  // The first one is taken and answered with a reset.
    data = data.first(std::min(data.size(), inbox_max));
    give_up_later(fd, from_to(*e), patience_sending);
    post({.what = kind::data, .to = e->other, .from = fd, .along = from_to(*e), .bytes = {data.begin(), data.end()}},
         nullptr);
    return static_cast<long>(data.size());
  }
  const auto used = to->inbox.size() + to->under_way;
  auto n = std::min(data.size(), inbox_max - std::min(used, inbox_max));
  if (n == 0 && !data.empty()) {
    e->wants_room = true;
    return fail(EAGAIN);
  }
  if (n > 1 && chance(one_in_short_sends)) n = some_of(n);  // As if there were room for no more.
  send_segments(*e, *to, data.first(n));
  return static_cast<long>(n);
}

void network::send_segments(const endpoint& from, endpoint& to, std::span<const std::byte> data) {
  give_up_later(from.fd, from_to(from), patience_sending);
  while (!data.empty()) {
    auto n = data.size();
    if (n > 1 && chance(one_in_split)) n = some_of(n);
    const auto part = data.first(n);
    to.under_way += n;
    post(
        {.what = kind::data, .to = to.fd, .from = from.fd, .along = from_to(from), .bytes = {part.begin(), part.end()}},
        &to);
    data = data.subspan(n);
  }
}

int network::shut_down_writing(int fd) noexcept {
  const own_allocations unwatched;
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::connected || e->is_reset) return fail(ENOTCONN);
  if (std::exchange(e->sent_end, true)) return 0;
  if (auto* to = find(e->other)) post({.what = kind::end, .to = to->fd, .from = fd, .along = from_to(*e)}, to);
  return 0;
}

int network::take_error(int fd) noexcept {
  auto* e = find(fd);
  return e ? std::exchange(e->error, 0) : fail(no_such(fd));
}

int network::local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  std::memcpy(address, &e->local.storage, std::min(*length, e->local.length));
  *length = e->local.length;
  return 0;
}

int network::peer_name(int fd, sockaddr* address, socklen_t* length) noexcept {
  auto* e = find(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::connected || e->is_reset) return fail(ENOTCONN);
  std::memcpy(address, &e->remote.storage, std::min(*length, e->remote.length));
  *length = e->remote.length;
  return 0;
}

// Unread bytes, or connections that nobody accepted, make it a reset.
void network::close(int fd) noexcept {
  const own_allocations unwatched;
  const auto at = endpoints_.find(fd);
  if (at == endpoints_.end()) {
    if (fd < first_fd) ::close(fd);  // The kernel's: the program has adopted it.
    return;
  }
  const auto gone = std::move(at->second);
  endpoints_.erase(at);
  for (const int waiting : gone->pending) close(waiting);
  auto* to = find(gone->other);
  if (!to) return;
  const bool lost = !gone->inbox.empty() || gone->under_way > 0;
  if (lost)
    post({.what = kind::reset, .to = to->fd, .along = from_to(*gone)}, to);
  else if (!gone->sent_end)
    post({.what = kind::end, .to = to->fd, .from = fd, .along = from_to(*gone)}, to);
}

}  // namespace thrum::sim
