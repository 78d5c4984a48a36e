// Unix sockets: names, connections, and datagrams, which wait for room and are neither lost nor overtaken. And pipes.
#include <algorithm>
#include <cerrno>
#include <string>

#include "net/unix_address.hpp"
#include "sim/disks.hpp"
#include "sim/network.hpp"

namespace thrum::sim {
namespace {

constexpr std::size_t queue_max = 10;  // Linux's default: who finds more datagrams than that waits.
constexpr std::size_t unix_datagram_max = 212'960;

bool is_abstract_name(std::string_view name) noexcept { return name.starts_with('@'); }

}  // namespace

int network::bind_name(endpoint& e, const net::address& wanted) {
  const auto name = net::unix_name(wanted);
  if (is_abstract_name(name)) {
    if (named(wanted, e)) return fail(EADDRINUSE);
  } else if (const int error = disks_.make_socket(e.host, name, e.id, e.file)) {
    return fail(error);
  }
  e.local = wanted;
  return 0;
}

// Each type of socket has abstract names of its own.
network::endpoint* network::named(const net::address& name, const endpoint& by) {
  const auto wanted = net::unix_name(name);
  if (!is_abstract_name(wanted)) {
    const int id = disks_.socket_at(by.host, wanted);
    auto* e = find(id);
    if (id >= 0) errno = e ? EPROTOTYPE : ECONNREFUSED;
    return e && e->type == by.type ? e : nullptr;
  }
  for (auto& [id, e] : endpoints_)
    if (e->owns_name && e->is_unix() && e->host == by.host && e->type == by.type && net::unix_name(e->local) == wanted)
      return e.get();
  errno = ECONNREFUSED;
  return nullptr;
}

// At once: the connection is there before it is accepted.
int network::connect_unix(endpoint& e, const net::address& to) {
  auto* server = named(to, e);
  if (!server) return -1;
  if (server->is != state::listening) return fail(ECONNREFUSED);
  if (server->pending.size() > server->backlog) return fail(EAGAIN);
  auto& mine = add(e.family, e.type, e.host);
  join(e, mine);
  mine.local = e.remote = server->local;
  mine.remote = e.local;
  mine.options = server->options;
  mine.file = server->file;
  server->pending.push_back(mine.id);
  post({.what = kind::look, .to = server->id, .along = from_to(e)}, nullptr);
  return 0;
}

// A pair whose first end does not write.
int network::open_pipe(int (&ends)[2]) noexcept {
  (void)open_pair(AF_UNIX, SOCK_STREAM, ends);
  for (const int fd : ends) of(fd)->is_pipe = true;
  of(ends[0])->sent_end = true;
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Datagrams.

// Who has a peer hears nobody else.
bool network::may_send(const endpoint& e, const endpoint& to) noexcept {
  return to.is != state::connected || to.other == e.id;
}

int network::set_unix_peer(endpoint& e, const net::address& to) {
  auto* peer = named(to, e);
  if (!peer) return -1;
  if (!may_send(e, *peer)) return fail(EPERM);
  // Who waits for room at the one before is to look again.
  if (std::exchange(e.wants_room, false)) post({.what = kind::room, .to = e.id, .along = from_to(e)}, nullptr);
  e.is = state::connected;
  e.other = peer->id;
  e.remote = peer->local;
  return 0;
}

long network::send_unix(endpoint& e, std::vector<std::byte> bytes, const net::address& to) {
  const bool to_peer = to.length == 0;
  if (to_peer && e.is != state::connected) return fail(ENOTCONN);
  auto* receiver = to_peer ? find(e.other) : named(to, e);
  if (!receiver && to_peer) {
    e.is = state::fresh;
    return fail(ECONNREFUSED);
  }
  if (!receiver) return -1;
  if (!may_send(e, *receiver)) return fail(EPERM);
  if (bytes.size() > unix_datagram_max) return fail(EMSGSIZE);
  if (receiver->datagrams.size() + receiver->under_way > queue_max) {
    e.wants_room = to_peer;
    return fail(EAGAIN);
  }
  ++receiver->under_way;
  const auto size = static_cast<long>(bytes.size());
  post({.what = kind::datagram,
        .to = receiver->id,
        .from = e.id,
        .along = from_to(e),
        .bytes = std::move(bytes),
        .source = e.local},
       receiver);
  return size;
}

// For those who wait to send to it; without it, to learn that.
void network::make_room(const endpoint& at) {
  for (auto& [id, e] : endpoints_)
    if (e->other == at.id && std::exchange(e->wants_room, false))
      post({.what = kind::room, .to = id, .along = from_to(at)}, nullptr);
}

}  // namespace thrum::sim
