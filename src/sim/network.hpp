// The simulated network: sockets and pipes of one program that talk to each other.
//
// Model. A socket is an endpoint; what one end does reaches the other as an event, after a latency that the seed
// chooses. The poller is told of edges, as by epoll. Endpoints are on hosts (hosts.hpp). An endpoint has an identity,
// by which others know it, and ends with the last of its descriptors; a descriptor under way through a Unix socket is
// one of them.
//
// Streams: nothing overtakes. A segment that is sent may arrive in pieces, so that reads are short. An end that is gone
// answers with a reset, as TCP does; so does any end when the seed says so. What is sent while the link is cut is held,
// as TCP would send it again, and goes its way once the link is restored; who has sent into silence gives up after
// TCP's time.
//
// UDP: a datagram is sent to an address, and meets there whoever has it when it arrives. It is on its own: it may be
// lost or come twice, and overtakes others, but not within a host. Nothing is held for it.
//
// What is sent to a group goes to each host on its own, and there to all who have the port, if any of them has joined
// (IP_MULTICAST_ALL, the kernel's default). A host's interfaces are "lo" and "eth0".
//
// Unix sockets, and pipes, stay on their host. They are streams without resets by the network, or datagrams that are
// neither lost nor overtaken. A path is a file on the host's disk, which knows the socket's identity.
//
// Who watches files is an endpoint, too: the disks tell its watcher (watchers.hpp), and a moment later it can be read.
//
// Name servers have no sockets: what arrives at port 53 of their hosts is answered where it arrives (names.hpp).
//
// Everything here belongs to the one worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "base/rng.hpp"
#include "net/address.hpp"
#include "sched/fd_watch.hpp"
#include "sched/socket_system.hpp"
#include "sim/hosts.hpp"
#include "sim/names.hpp"
#include "sim/numbers.hpp"
#include "sim/schedule.hpp"
#include "sim/watchers.hpp"

namespace thrum::sim {

class disks;

class network final : public sched::socket_system {
 public:
  network(const options& o, sched::clock_source& clock, hosts& h, disks& d);
  ~network() override;

  // --- The poller's side.
  int watch(int fd, sched::fd_watch& w) noexcept;  // 0 or an errno value.
  std::int64_t next_event_at() const noexcept;     // sched::never: nothing is under way.
  void deliver(std::int64_t now, sched::runnable_batch& out) noexcept;

  // --- What the program does to it, as sim_network.hpp has it.
  std::string introduce(std::string_view host);
  void set(std::string_view from, std::string_view to, const link& l);
  void break_connections(std::string_view a, std::string_view b);
  // As sim_names.hpp has it.
  void set(std::string_view address, const sim::name_server& s);
  names& known_names() noexcept { return names_; }

  // --- The sockets' side.
  int open(int family, int type) noexcept override;
  int open_pair(int family, int type, int (&ends)[2]) noexcept override;
  int open_pipe(int (&ends)[2]) noexcept override;
  bool is_ready(int fd, bool to_write) noexcept override;
  int set_option(int fd, int level, int option, int value) noexcept override;
  int get_option(int fd, int level, int option, int& value) noexcept override;
  unsigned interface_number(const char* name) noexcept override;
  int join_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept override;
  int leave_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept override;
  int bind(int fd, const sockaddr* address, socklen_t length) noexcept override;
  int listen(int fd, int backlog) noexcept override;
  int accept(int fd) noexcept override;
  int connect(int fd, const sockaddr* address, socklen_t length) noexcept override;
  long receive(int fd, std::span<std::byte> buffer, bool peek) noexcept override;
  long send(int fd, std::span<const std::byte> data) noexcept override;
  long send_message(int fd, const msghdr& m) noexcept override;
  long receive_message(int fd, msghdr& m, int flags) noexcept override;
  int adopt(int fd) noexcept override;
  int shut_down_writing(int fd) noexcept override;
  int take_error(int fd) noexcept override;
  int local_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
  int peer_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
  void close(int fd) noexcept override;
  int open_set() noexcept override;
  int change_set(int set, int fd, unsigned events) noexcept override;
  int look_at_set(int set, std::span<epoll_event> ready) noexcept override;
  int open_watcher() noexcept override;
  int add_watch(int watcher, const char* path, unsigned events) noexcept override;
  int remove_watch(int watcher, int watch) noexcept override;
  long read_changes(int watcher, std::span<std::byte> buffer) noexcept override;
  const char* name_server() noexcept override;

 private:
  enum class state : std::uint8_t { fresh, listening, connecting, connected };
  struct datagram {
    std::vector<std::byte> bytes;
    net::address from;
  };
  struct membership {
    net::address group;
    unsigned interface;
  };
  class passed_descriptor;
  using parcel = std::shared_ptr<passed_descriptor>;
  struct piece_with_parcel {  // Bytes of a stream, counted from its start.
    std::uint64_t begin, end;
    parcel carried;
  };
  struct registration {  // Of a descriptor, with the poller.
    int fd;
    sched::fd_watch* watch;
    std::uint16_t generation;
  };
  struct endpoint {
    int id = -1;
    unsigned descriptors = 0;  // By which programs know it, or will once they have received them.
    int family = 0;
    int type = 0;
    bool is_pipe = false;
    bool is_name_servers = false;
    host_id host = other_host;
    host_id peer_host = other_host;
    state is = state::fresh;
    net::address local, remote;
    bool owns_name = false;  // It was bound: by `local` others find it.
    int other = -1;          // The peer, which may be gone. Of UDP there is none.
    int error = 0;           // SO_ERROR.
    bool ended = false;      // The peer has sent its end.
    bool sent_end = false;
    bool is_reset = false;
    bool wants_room = false;
    std::deque<std::byte> inbox;
    std::uint64_t taken = 0;                // Of the bytes before those in the inbox.
    std::deque<piece_with_parcel> parcels;  // In the inbox.
    std::deque<datagram> datagrams;
    std::size_t charged = 0;           // What they take of the receive buffer, with what is kept beside each.
    std::size_t under_way = 0;         // Bytes, or Unix datagrams, on their way here.
    std::int64_t last_arrival_at = 0;  // Of what is on its way here: nothing overtakes.
    std::deque<int> pending;           // Of a listener: accepted by nobody yet.
    std::size_t backlog = 0;
    std::vector<membership> groups;
    std::map<std::pair<int, int>, int> options;  // That were set, by level and name.
    int set = -1;                                // That it is in, and
    unsigned awaited = 0;                        // what for.
    std::vector<int> members;                    // Of a set: descriptors.
    std::shared_ptr<watcher> changes;            // Of files, that were watched for.
    std::shared_ptr<const void> file;            // Of a Unix socket that has one: held as by a descriptor.
    std::vector<registration> watched;

    bool is_unix() const noexcept { return family == AF_UNIX; }
    bool is_datagram() const noexcept { return type == SOCK_DGRAM; }
    int value_of(int option, int otherwise) const noexcept;  // Of SOL_SOCKET.
    int value_of(int level, int option, int otherwise) const noexcept;
  };
  enum class kind : std::uint8_t {
    look,
    request,
    refused,
    accepted,
    data,
    end,
    reset,
    room,
    gives_up,
    datagram,
    unreachable,
    answer,
  };
  struct event {
    kind what;
    int to;
    int from = -1;
    path along{};
    std::vector<std::byte> bytes{};
    parcel carried{};
    net::address address{};  // Where a request or a datagram goes, or went.
    net::address source{};   // Of a datagram.
    unsigned interface = 0;  // By which a datagram to a group arrives.
    std::int64_t since = 0;  // Of gives_up: when it has sent what was not answered.
  };

  // --- network.cpp
  static int fail(int error) noexcept;
  static int no_such(int fd) noexcept;  // An errno value.
  static net::address copy_of(const void* address, socklen_t length) noexcept;
  endpoint* find(int id) noexcept;
  endpoint* of(int fd) noexcept;  // That a program knows by this descriptor.
  endpoint& add(int family, int type, host_id host);
  int describe(endpoint& e, int fd);
  void end(int id);
  static void join(endpoint& a, endpoint& b) noexcept;
  bool is_taken(const net::address& wanted, const endpoint& by) const noexcept;
  std::uint16_t free_port() noexcept;
  int bind_port(endpoint& e, net::address wanted);
  void schedule_at(std::int64_t at, event e);
  void schedule_along(event e, endpoint* in_order_to);
  void post(event e, endpoint* in_order_to);
  void happen(event& e, sched::runnable_batch& out);
  bool is_interrupted() noexcept { return chance(options_.one_in_interrupted); }
  bool chance(std::uint32_t one_in) noexcept { return one_in > 0 && rng_.below(one_in) == 0; }
  std::size_t some_of(std::size_t n) noexcept { return 1 + static_cast<std::size_t>(rng_.next() % (n - 1)); }
  static path from_to(const endpoint& e) noexcept { return {e.host, e.peer_host}; }
  void tell(endpoint& e, unsigned edges, sched::runnable_batch& out) noexcept;
  static unsigned readiness(const endpoint& e) noexcept;

  // --- network_streams.cpp
  int connect_tcp(endpoint& e, const net::address& to);
  std::vector<endpoint*> listeners_at(const net::address& wanted, host_id host);
  void request_arrives(const event& e, sched::runnable_batch& out);
  void data_arrives(event& e, sched::runnable_batch& out);
  void break_off(endpoint& e, int error, sched::runnable_batch& out);
  static std::size_t room_at(const endpoint& to) noexcept;
  long take(endpoint& e, std::span<std::byte> buffer, bool peek, parcel& carried) noexcept;
  long give(endpoint& e, std::span<const std::byte> data, parcel carried) noexcept;
  void send_segments(const endpoint& from, endpoint& to, std::span<const std::byte> data, parcel carried);
  void give_up_later(int sender, const path& p, std::chrono::seconds patience);
  void give_up(const event& e, sched::runnable_batch& out);
  void hang_up(const endpoint& gone, bool resets);

  // --- network_watchers.cpp
  watcher* find_watcher(int fd) noexcept;  // Null, and errno.
  void announce_changes();

  // --- network_names.cpp
  void query_arrives(const event& e);
  void queries_arrive(endpoint& at);
  void answer(event& e);

  // --- network_unix.cpp
  int bind_name(endpoint& e, const net::address& wanted);
  endpoint* named(const net::address& name, const endpoint& by);  // Of its type and on its host; null, and errno.
  int connect_unix(endpoint& e, const net::address& to);
  int set_unix_peer(endpoint& e, const net::address& to);
  long send_unix(endpoint& e, std::vector<std::byte> bytes, const net::address& to);
  static bool may_send(const endpoint& e, const endpoint& to) noexcept;
  void make_room(const endpoint& at);

  // --- network_parcels.cpp
  int duplicate(int fd) noexcept;
  long send_parcel(endpoint& e, const msghdr& m) noexcept;
  long receive_parcel(endpoint& e, msghdr& m, std::size_t room) noexcept;

  // --- network_datagrams.cpp
  int set_udp_peer(endpoint& e, const net::address& to);
  long send_udp(endpoint& e, std::vector<std::byte> bytes, const net::address& to);
  net::address source_of(const endpoint& e, const net::address& to) const;  // Of length 0: none, and errno.
  endpoint* receiver_of(const net::address& to, const net::address& from, host_id host);
  void send_off(const event& e, endpoint* in_order_to);
  void datagram_arrives(event& e, sched::runnable_batch& out);
  void queue(endpoint& at, datagram d, sched::runnable_batch& out);
  void is_unreachable(const event& e, endpoint& sender, sched::runnable_batch& out);

  // --- network_groups.cpp
  net::address source_for_group(const endpoint& e, int family, unsigned interface) const;  // As source_of.
  static unsigned group_interface(const endpoint& e) noexcept;
  long send_to_group(const endpoint& e, std::vector<std::byte> bytes, const net::address& to);
  std::vector<endpoint*> hearers_of(const event& e);
  void group_datagram_arrives(const event& e, sched::runnable_batch& out);

  const options& options_;
  sched::clock_source& clock_;
  hosts& hosts_;
  disks& disks_;
  names names_;
  base::rng rng_;
  int next_number_;
  std::uint16_t next_port_;
  std::uint64_t posted_ = 0;
  std::map<int, endpoint*> descriptors_;
  std::map<int, std::unique_ptr<endpoint>> endpoints_;
  std::map<std::pair<std::int64_t, std::uint64_t>, event> events_;  // By time, then in the order of posting.
  std::vector<event> held_;                                         // On links that are cut, in the order of posting.
};

}  // namespace thrum::sim
