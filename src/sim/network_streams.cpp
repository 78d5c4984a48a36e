// Streams: how they connect, what they carry, and how they end.
#include <algorithm>
#include <cerrno>
#include <climits>

#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {
namespace {

constexpr std::size_t inbox_max = std::size_t{64} << 10;
constexpr std::uint32_t one_in_split = 4;
constexpr std::uint32_t one_in_short_sends = 16;
// Linux's defaults: six requests, and fifteen times the same data.
constexpr std::chrono::seconds patience_connecting{127}, patience_sending{924};

using sched::fd_watch;

// So many bytes go together, or not at all.
constexpr std::size_t whole_in(bool pipe) noexcept { return pipe ? PIPE_BUF : 1; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Connecting.

int network::listen(int fd, int backlog) noexcept {
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  e->is = state::listening;
  e->backlog = static_cast<std::size_t>(std::max(backlog, 0));
  return 0;
}

// In the order of their opening.
std::vector<network::endpoint*> network::listeners_at(const net::address& wanted, host_id host) {
  std::vector<endpoint*> all;
  for (auto& [id, e] : endpoints_) {
    if (e->is != state::listening || e->host != host || e->family != wanted.family()) continue;
    if (e->local.port() == wanted.port() && (is_any(e->local) || same_host(e->local, wanted))) all.push_back(e.get());
  }
  return all;
}

int network::connect_tcp(endpoint& e, const net::address& to) {
  e.remote = to;
  e.local = hosts_.own_address(e.host, to);
  if (e.local.length == 0) return fail(ENETUNREACH);
  e.local.set_port(free_port());
  e.peer_host = hosts_.owner_of(to, e.host);
  e.is = state::connecting;
  give_up_later(e.id, from_to(e), patience_connecting);
  post({.what = kind::request, .to = -1, .from = e.id, .along = from_to(e), .address = to}, nullptr);
  return fail(is_interrupted() ? EINTR : EINPROGRESS);  // It goes on all the same.
}

// The other end's half of the handshake: an endpoint that waits to be accepted.
void network::request_arrives(const event& e, sched::runnable_batch& out) {
  auto* client = find(e.from);
  if (!client || client->is != state::connecting) return;
  const auto host = e.along.to;
  const auto listeners = listeners_at(e.address, host);
  auto* server = listeners.empty() ? nullptr : listeners[rng_.next() % listeners.size()];
  const bool asks_names = !server && names_.is_server(e.address);
  if (asks_names && names_.is_down(e.address)) return;
  if (!asks_names && (!server || server->pending.size() > server->backlog)) {
    post({.what = kind::refused, .to = e.from, .along = e.along.back()}, client);
    return;
  }
  auto& mine = add(client->family, client->type, host);
  mine.peer_host = client->host;
  mine.is = state::connected;
  mine.local = e.address;
  mine.remote = client->local;
  mine.other = client->id;
  mine.is_name_servers = asks_names;
  post({.what = kind::accepted, .to = client->id, .from = mine.id, .along = e.along.back()}, client);
  if (asks_names) return;
  mine.options = server->options;
  server->pending.push_back(mine.id);
  tell(*server, fd_watch::can_read, out);
}

int network::accept(int fd) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::listening) return fail(EINVAL);
  if (is_interrupted()) return fail(EINTR);
  if (e->pending.empty()) return fail(EAGAIN);
  const int accepted = e->pending.front();
  e->pending.pop_front();
  return describe(*find(accepted), accepted);
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

// ---------------------------------------------------------------------------------------------------------------
// Bytes.

long network::receive(int fd, std::span<std::byte> buffer, bool peek) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  parcel nobodys;  // Closes what it carries.
  return take(*e, buffer, peek, nobodys);
}

// A read goes as far as the piece that carries something, and takes that with the piece's first byte.
long network::take(endpoint& e, std::span<std::byte> buffer, bool peek, parcel& carried) noexcept {
  if (is_interrupted()) return fail(EINTR);
  if (!e.inbox.empty()) {
    auto n = std::min(buffer.size(), e.inbox.size());
    const bool reaches_parcel = !e.parcels.empty() && e.parcels.front().begin < e.taken + n;
    if (reaches_parcel) n = std::min<std::size_t>(n, e.parcels.front().end - e.taken);
    const auto end = e.inbox.begin() + static_cast<std::ptrdiff_t>(n);
    std::copy(e.inbox.begin(), end, buffer.begin());
    if (peek) return static_cast<long>(n);
    e.inbox.erase(e.inbox.begin(), end);
    e.taken += n;
    if (reaches_parcel) {
      carried = std::move(e.parcels.front().carried);
      e.parcels.pop_front();
    }
    auto* from = find(e.other);
    if (from && std::exchange(from->wants_room, false))
      post({.what = kind::room, .to = from->id, .along = from_to(e)}, nullptr);
    return static_cast<long>(n);
  }
  if (e.error != 0) return fail(std::exchange(e.error, 0));
  if (e.ended || e.is_reset) return 0;
  return fail(e.is == state::connected ? EAGAIN : ENOTCONN);
}

long network::send(int fd, std::span<const std::byte> data) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  return e ? give(*e, data, nullptr) : fail(no_such(fd));
}

long network::give(endpoint& e, std::span<const std::byte> data, parcel carried) noexcept {
  if (is_interrupted()) return fail(EINTR);
  auto* to = find(e.other);
  if (!to && e.is_unix() && e.is == state::connected) return fail(EPIPE);
  if (e.error != 0) return fail(std::exchange(e.error, 0));
  if (e.sent_end || e.is_reset) return fail(EPIPE);
  if (e.is != state::connected) return fail(ENOTCONN);
  if (!to) {  // The first one is taken and answered with a reset.
    data = data.first(std::min(data.size(), inbox_max));
    give_up_later(e.id, from_to(e), patience_sending);
    post({.what = kind::data, .to = e.other, .from = e.id, .along = from_to(e), .bytes = {data.begin(), data.end()}},
         nullptr);
    return static_cast<long>(data.size());
  }
  auto n = std::min(data.size(), room_at(*to));
  if (n < std::min(data.size(), whole_in(e.is_pipe))) {
    e.wants_room = true;
    return fail(EAGAIN);
  }
  if (n > whole_in(e.is_pipe) && chance(one_in_short_sends)) n = some_of(n);  // As if there were room for no more.
  send_segments(e, *to, data.first(n), std::move(carried));
  return static_cast<long>(n);
}

std::size_t network::room_at(const endpoint& to) noexcept {
  return inbox_max - std::min(to.inbox.size() + to.under_way, inbox_max);
}

void network::send_segments(const endpoint& from, endpoint& to, std::span<const std::byte> data, parcel carried) {
  give_up_later(from.id, from_to(from), patience_sending);
  while (!data.empty()) {
    auto n = data.size();
    if (n > whole_in(from.is_pipe) && chance(one_in_split)) n = some_of(n);
    const auto part = data.first(n);
    to.under_way += n;
    post({.what = kind::data,
          .to = to.id,
          .from = from.id,
          .along = from_to(from),
          .bytes = {part.begin(), part.end()},
          .carried = std::exchange(carried, nullptr)},
         &to);
    data = data.subspan(n);
  }
}

void network::data_arrives(event& e, sched::runnable_batch& out) {
  auto& to = *find(e.to);
  to.under_way -= e.bytes.size();
  if (!to.is_unix() && chance(options_.one_in_resets)) {
    if (auto* from = find(e.from)) break_off(*from, ECONNRESET, out);
    return break_off(to, ECONNRESET, out);
  }
  if (to.is_reset) return;
  const auto begin = to.taken + to.inbox.size();
  to.inbox.insert(to.inbox.end(), e.bytes.begin(), e.bytes.end());
  if (e.carried) to.parcels.push_back({begin, begin + e.bytes.size(), std::move(e.carried)});
  if (to.is_name_servers) return queries_arrive(to);
  tell(to, fd_watch::can_read, out);
}

// Who is to be told of room must have asked for it.
bool network::is_ready(int fd, bool to_write) noexcept {
  auto* e = of(fd);
  if (!e) return true;
  const auto edges = readiness(*e);
  if (!to_write) return (edges & (fd_watch::can_read | fd_watch::read_ended | fd_watch::ended)) != 0;
  const auto* to = find(e->other);
  e->wants_room = to && room_at(*to) < whole_in(e->is_pipe);
  return !e->wants_room || (edges & fd_watch::ended) != 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Ends.

int network::shut_down_writing(int fd) noexcept {
  const own_allocations unwatched;
  auto* e = of(fd);
  if (!e) return fail(no_such(fd));
  if (e->is != state::connected || e->is_reset) return fail(ENOTCONN);
  if (std::exchange(e->sent_end, true)) return 0;
  if (auto* to = find(e->other)) post({.what = kind::end, .to = to->id, .from = e->id, .along = from_to(*e)}, to);
  return 0;
}

// What has arrived and was not read is lost, as with TCP. Unix sockets keep it, and a pipe just has no reader any more.
void network::break_off(endpoint& e, int error, sched::runnable_batch& out) {
  e.is_reset = true;
  e.error = e.is_pipe ? 0 : error;
  if (!e.is_unix()) e.inbox.clear();
  tell(e, fd_watch::can_read | fd_watch::can_write | fd_watch::ended, out);
}

// Unread bytes make it a reset.
void network::hang_up(const endpoint& gone, bool resets) {
  auto* to = find(gone.other);
  if (!to) return;
  const bool lost = !gone.inbox.empty() || gone.under_way > 0;
  if (lost || resets)
    post({.what = kind::reset, .to = to->id, .along = from_to(gone)}, to);
  else if (!gone.sent_end)
    post({.what = kind::end, .to = to->id, .from = gone.id, .along = from_to(gone)}, to);
}

}  // namespace thrum::sim
