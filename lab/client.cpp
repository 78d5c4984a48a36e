// The one client that measures all c10k servers: one thread over epoll, many connections, each with one
// request under way at a time, every byte of every answer checked.
//
// Phases: connect all (a window of them at a time, so that the backlog never overflows); warm up until every
// connection has been answered or refused; measure; wait for the parent to look at the server; close.

#include "lab/client.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "lab/child.hpp"
#include "lab/failure.hpp"
#include "lab/histogram.hpp"
#include "lab/limits.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr std::size_t connecting_at_once = 256;

struct connection {
  enum class state { closed, connecting, asking };
  int descriptor = -1;
  state now = state::closed;
  bool answered_once = false;
  std::uint32_t sequence = 0;
  std::uint32_t have = 0;
  clock::time_point asked_at;
  std::array<std::byte, message_bytes> answer;
};

class load {
 public:
  explicit load(const json& order);
  ~load() { close(poller_); }
  load(const load&) = delete;
  load& operator=(const load&) = delete;
  void run();

 private:
  void connect_more();
  void open(connection& c);
  void turn(clock::time_point until);
  void handle(connection& c, std::uint32_t events);
  void on_connected(connection& c);
  void ask(connection& c);
  void read_answer(connection& c);
  void accept_answer(connection& c);
  void drop(connection& c);
  void warm_up();
  void measure();
  void report_result();
  void show_progress(const char* phase, double fraction);
  std::uint32_t id_of(const connection& c) const { return static_cast<std::uint32_t>(&c - connections_.data()); }
  std::size_t settled() const { return answered_ + refused_; }

  std::vector<connection> connections_;
  std::uint16_t port_;
  duration<double> warm_up_, window_, patience_;
  int poller_;
  std::size_t opened_ = 0, connecting_ = 0, answered_ = 0, refused_ = 0;
  bool measuring_ = false;
  histogram latencies_;
  std::uint64_t lost_ = 0, corrupt_ = 0;
  clock::time_point told_ = clock::now();
  double measured_s_ = 0;
};

load::load(const json& order)
    : connections_(order.at("connections").get<std::size_t>()),
      port_(order.at("port")),
      warm_up_(order.at("warm_up_s").get<double>()),
      window_(order.at("seconds").get<double>()),
      patience_(order.at("patience_s").get<double>()),
      poller_(epoll_create1(EPOLL_CLOEXEC)) {
  if (poller_ < 0) throw failure(explain_descriptors(errno));
  auto needed = static_cast<std::int64_t>(connections_.size()) + 64;
  if (auto limit = allow_descriptors(needed))
    throw failure(
        fmt::format("{} connections need {} open files in the client, but {}", connections_.size(), needed, *limit));
}

void load::open(connection& c) {
  c.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c.descriptor < 0) throw failure(explain_descriptors(errno));
  linger at_once{1, 0};  // Closing resets: ten thousand connections in TIME_WAIT would disturb the next model.
  setsockopt(c.descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &c;
  epoll_ctl(poller_, EPOLL_CTL_ADD, c.descriptor, &event);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  c.now = connection::state::connecting;
  ++connecting_;
  int done = ::connect(c.descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (done == 0) return on_connected(c);
  if (errno == EADDRNOTAVAIL) throw failure("this machine has no free local port left for another connection");
  if (errno != EINPROGRESS) drop(c);
}

void load::connect_more() {
  while (opened_ < connections_.size() && connecting_ < connecting_at_once) open(connections_[opened_++]);
}

void load::on_connected(connection& c) {
  --connecting_;
  c.now = connection::state::asking;
  ask(c);
}

void load::ask(connection& c) {
  std::array<std::byte, message_bytes> request;
  write_request(request, id_of(c), ++c.sequence);
  c.have = 0;
  c.asked_at = clock::now();
  // One small request into an empty send buffer: it fits or the connection is dead.
  if (send(c.descriptor, request.data(), request.size(), MSG_NOSIGNAL) != ssize_t{message_bytes}) drop(c);
}

// Refused if it never got an answer (the server had no room for it), else lost.
void load::drop(connection& c) {
  if (c.now == connection::state::connecting) --connecting_;
  c.now = connection::state::closed;
  close(c.descriptor);
  c.descriptor = -1;
  ++(c.answered_once ? lost_ : refused_);
}

// Edge-triggered without reading up to EAGAIN: nothing can follow an answer before the next request is sent.
void load::read_answer(connection& c) {
  ssize_t n = recv(c.descriptor, c.answer.data() + c.have, message_bytes - c.have, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(c);
  c.have += static_cast<std::uint32_t>(n);
  if (c.have == message_bytes) accept_answer(c);
}

void load::accept_answer(connection& c) {
  if (!is_answer(c.answer, id_of(c), c.sequence)) ++corrupt_;
  if (!c.answered_once) ++answered_;
  c.answered_once = true;
  if (measuring_) latencies_.add(clock::now() - c.asked_at);
  ask(c);
}

void load::handle(connection& c, std::uint32_t events) {
  if (c.now == connection::state::closed) return;
  if (c.now == connection::state::connecting) {
    if (events & (EPOLLERR | EPOLLHUP)) return drop(c);
    if (events & EPOLLOUT) on_connected(c);
    return;
  }
  if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) read_answer(c);
}

void load::turn(clock::time_point until) {
  std::array<epoll_event, 256> events;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
  auto timeout = std::clamp<std::int64_t>(left.count(), 0, 50);
  int n = epoll_wait(poller_, events.data(), events.size(), static_cast<int>(timeout));
  for (int i = 0; i < n; ++i) {
    const epoll_event& e = events[static_cast<std::size_t>(i)];
    handle(*static_cast<connection*>(e.data.ptr), e.events);
  }
}

void load::show_progress(const char* phase, double fraction) {
  if (clock::now() - told_ < std::chrono::milliseconds(200)) return;
  told_ = clock::now();
  say({{"phase", phase}, {"progress", fraction}});
}

void load::warm_up() {
  auto start = clock::now();
  auto least = start + std::chrono::duration_cast<clock::duration>(warm_up_);
  auto most = start + std::chrono::duration_cast<clock::duration>(patience_);
  while (clock::now() < most && (settled() < connections_.size() || clock::now() < least)) {
    connect_more();
    turn(clock::now() + std::chrono::milliseconds(50));
    show_progress("connecting", static_cast<double>(settled()) / static_cast<double>(connections_.size()));
  }
  if (answered_ == 0) throw failure("the server answered on none of the connections");
}

void load::measure() {
  say({{"phase", "measure"}});
  measuring_ = true;
  auto start = clock::now();
  auto end = start + std::chrono::duration_cast<clock::duration>(window_);
  while (clock::now() < end) {
    turn(end);
    show_progress("measuring", duration<double>(clock::now() - start) / window_);
  }
  measured_s_ = duration<double>(clock::now() - start).count();
  measuring_ = false;
}

void load::report_result() {
  say({{"phase", "measured"},
       {"connections", answered_ - std::min<std::uint64_t>(lost_, answered_)},
       {"refused", connections_.size() - answered_},
       {"lost", lost_},
       {"corrupt", corrupt_},
       {"requests", latencies_.count()},
       {"measured_s", measured_s_},
       {"requests_per_s", static_cast<double>(latencies_.count()) / measured_s_},
       {"p50_us", latencies_.percentile_us(50)},
       {"p99_us", latencies_.percentile_us(99)},
       {"p999_us", latencies_.percentile_us(99.9)},
       {"max_us", latencies_.max_us()},
       {"latency_us", latencies_.curve()}});
}

void load::run() {
  warm_up();
  measure();
  report_result();
  wait_for_parent();
}

}  // namespace

void measure_c10k(const nlohmann::json& order) { load(order).run(); }

}  // namespace thrum::lab
