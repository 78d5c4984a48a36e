// The simulated network: stream sockets of one program that talk to each other.
//
// Model. A socket is an endpoint; what one end does reaches the other as an event, after a latency that the seed
// chooses, and in order. A segment that is sent may arrive in pieces, so that reads are short. An end that is gone
// answers with a reset, as TCP does; so does any end when the seed says so. The poller is told of edges, as by epoll.
//
// Endpoints are on hosts (hosts.hpp). What is sent while the link is cut is held, as TCP would send it again, and goes
// its way once the link is restored; who has sent into silence gives up after TCP's time.
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

#include "base/rng.hpp"
#include "net/address.hpp"
#include "sched/fd_watch.hpp"
#include "sched/socket_system.hpp"
#include "sim/hosts.hpp"
#include "sim/schedule.hpp"

namespace thrum::sim {

class network final : public sched::socket_system {
 public:
  network(const options& o, sched::clock_source& clock, hosts& h);

  // --- The poller's side.
  int watch(int fd, sched::fd_watch& w) noexcept;  // 0 or an errno value.
  std::int64_t next_event_at() const noexcept;     // sched::never: nothing is under way.
  void deliver(std::int64_t now, sched::runnable_batch& out) noexcept;

  // --- What the program does to it, as sim_network.hpp has it.
  std::string introduce(std::string_view host);
  void set(std::string_view from, std::string_view to, const link& l);
  void break_connections(std::string_view a, std::string_view b);

  // --- The sockets' side.
  int open(int family) noexcept override;
  int set_option(int fd, int level, int option, int value) noexcept override;
  int listen(int fd, const sockaddr* address, socklen_t length, int backlog) noexcept override;
  int accept(int fd) noexcept override;
  int connect(int fd, const sockaddr* address, socklen_t length) noexcept override;
  long receive(int fd, std::span<std::byte> buffer, bool peek) noexcept override;
  long send(int fd, std::span<const std::byte> data) noexcept override;
  int shut_down_writing(int fd) noexcept override;
  int take_error(int fd) noexcept override;
  int local_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
  int peer_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
  void close(int fd) noexcept override;

 private:
  enum class state : std::uint8_t { fresh, listening, connecting, connected };
  struct endpoint {
    int fd = -1;
    int family = 0;
    host_id host = other_host;
    host_id peer_host = other_host;
    state is = state::fresh;
    net::address local, remote;
    int other = -1;      // The peer's descriptor, which may be gone.
    int error = 0;       // SO_ERROR.
    bool ended = false;  // The peer has sent its end.
    bool sent_end = false;
    bool is_reset = false;
    bool wants_room = false;
    std::deque<std::byte> inbox;
    std::size_t under_way = 0;         // Bytes on their way here.
    std::int64_t last_arrival_at = 0;  // Of what is on its way here: nothing overtakes.
    std::deque<int> pending;           // Of a listener: accepted by nobody yet.
    std::size_t backlog = 0;
    bool shares_port = false;
    sched::fd_watch* watched_by = nullptr;
    std::uint16_t generation = 0;
  };
  enum class kind : std::uint8_t { look, request, refused, accepted, data, end, reset, room, gives_up };
  struct event {
    kind what;
    int to;
    int from = -1;
    path along{};
    std::vector<std::byte> bytes{};
    net::address address{};
    std::int64_t since = 0;  // Of gives_up: when it has sent what was not answered.
  };

  endpoint* find(int fd) noexcept;
  endpoint& add(int family, host_id host);
  std::vector<endpoint*> listeners_at(const net::address& wanted, host_id host);
  std::uint16_t free_port() noexcept;
  void schedule_at(std::int64_t at, event e);
  void post(event e, endpoint* in_order_to);
  void give_up_later(int sender, const path& p, std::chrono::seconds patience);
  void give_up(const event& e, sched::runnable_batch& out);
  void send_segments(const endpoint& from, endpoint& to, std::span<const std::byte> data);
  bool is_interrupted() noexcept { return chance(options_.one_in_interrupted); }
  bool chance(std::uint32_t one_in) noexcept { return one_in > 0 && rng_.below(one_in) == 0; }
  std::size_t some_of(std::size_t n) noexcept { return 1 + static_cast<std::size_t>(rng_.next() % (n - 1)); }
  void happen(event& e, sched::runnable_batch& out);
  void request_arrives(const event& e, sched::runnable_batch& out);
  void data_arrives(event& e, sched::runnable_batch& out);
  void break_off(endpoint& e, int error, sched::runnable_batch& out);
  static path from_to(const endpoint& e) noexcept { return {e.host, e.peer_host}; }
  static void tell(endpoint& e, unsigned edges, sched::runnable_batch& out) noexcept;
  static unsigned readiness(const endpoint& e) noexcept;

  const options& options_;
  sched::clock_source& clock_;
  hosts& hosts_;
  base::rng rng_;
  int next_fd_;
  std::uint16_t next_port_;
  std::uint64_t posted_ = 0;
  std::map<int, std::unique_ptr<endpoint>> endpoints_;
  std::map<std::pair<std::int64_t, std::uint64_t>, event> events_;  // By time, then in the order of posting.
  std::vector<event> held_;                                         // On links that are cut, in the order of posting.
};

}  // namespace thrum::sim
