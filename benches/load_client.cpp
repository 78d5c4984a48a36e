// The one load generator for every server of the echo and c10k benches.
//
// One thread, one edge-triggered epoll, N connections in closed loop: each sends a 64-byte message, waits
// for the same 64 bytes to come back, checks every byte, and sends the next. Each message is different (it
// is derived from connection and sequence number), so an answer that belongs to another connection or
// another request is found. After a warm-up, a window of fixed length is measured: requests, latencies and
// the CPU time of the server process, read from its CPU clock at both ends of the window.
//
//   load_client --port P --connections N [--warmup S] [--seconds S] [--spread-ms M] [--pid SERVER]
//
// --spread-ms spreads the first requests over M milliseconds, so that 10,000 connections whose answers
// take 100 ms do not all ask in the same instant for ever.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <bit>
#include <system_error>

#include "bench.hpp"

namespace {

constexpr std::size_t message_bytes = 64;
using message = std::array<uint64_t, message_bytes / 8>;

struct settings {
  int port = 0;
  std::size_t connections = 100;
  double warmup = 1, seconds = 3, spread_ms = 0;
  int pid = 0;
};

settings parse(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; i += 2) {
    std::string_view name = argv[i];
    if (i + 1 == argc) bench::fail(std::string(name) + " needs a value.");
    std::string_view value = argv[i + 1];
    if (name == "--port")
      s.port = bench::number<int>(name, value);
    else if (name == "--connections")
      s.connections = bench::number<std::size_t>(name, value);
    else if (name == "--warmup")
      s.warmup = bench::number<double>(name, value);
    else if (name == "--seconds")
      s.seconds = bench::number<double>(name, value);
    else if (name == "--spread-ms")
      s.spread_ms = bench::number<double>(name, value);
    else if (name == "--pid")
      s.pid = bench::number<int>(name, value);
    else
      bench::fail("There is no option '" + std::string(name) + "'.");
  }
  if (s.port == 0 || s.connections == 0) bench::fail("load_client needs --port and at least one connection.");
  return s;
}

// Latencies in nanoseconds, in buckets that are at most 1.6% wide.
class histogram {
 public:
  void add(uint64_t ns) { ++buckets_[std::min(index(ns), buckets_.size() - 1)]; }
  void clear() { buckets_.fill(0); }
  double percentile_us(double p) const {
    uint64_t total = 0, seen = 0;
    for (auto n : buckets_) total += n;
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      if ((seen += buckets_[i]) > uint64_t(p / 100 * double(total))) return double(middle(i)) / 1e3;
    return 0;
  }

 private:
  static constexpr unsigned fraction_bits = 6;
  static std::size_t index(uint64_t ns) {
    if (ns < (1u << fraction_bits)) return ns;
    unsigned shift = unsigned(std::bit_width(ns)) - fraction_bits - 1;
    return (std::size_t(shift) << fraction_bits) + (ns >> shift);
  }
  static uint64_t middle(std::size_t i) {
    if (i < (2u << fraction_bits)) return i;
    unsigned shift = unsigned(i >> fraction_bits) - 1;
    return ((uint64_t(i & ((1u << fraction_bits) - 1)) + (1u << fraction_bits)) << shift) + (1ull << shift) / 2;
  }
  std::array<uint64_t, 40 << fraction_bits> buckets_{};
};

struct connection {
  int socket = -1;
  uint64_t sequence = 0;
  uint64_t sent_ns = 0;
  std::size_t received = 0;
  message expected{};
};

uint64_t clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

uint64_t now() { return clock_ns(CLOCK_MONOTONIC); }

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 29);
}

void raise_file_limit(std::size_t needed) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < needed)
    bench::fail("The limit of " + std::to_string(limit.rlim_cur) + " open files is too low for " +
                    std::to_string(needed) + " connections.",
                1);
}

class client {
 public:
  explicit client(const settings& s) : settings_(s), connections_(s.connections), epoll_(epoll_create1(0)) {
    raise_file_limit(s.connections + 16);
    if (s.pid != 0 && clock_getcpuclockid(s.pid, &server_clock_) != 0)
      bench::fail("There is no server process " + std::to_string(s.pid) + ".", 1);
    for (auto& c : connections_) connect(c);
  }

  void run() {
    start_requests();
    serve_until(now() + uint64_t(settings_.warmup * 1e9));
    requests_ = 0;
    latencies_.clear();
    uint64_t cpu = server_cpu_ns(), begin = now();
    serve_until(begin + uint64_t(settings_.seconds * 1e9));
    report(double(now() - begin), double(server_cpu_ns() - cpu));
  }

 private:
  // One after the other and blocking: the server's accept loop is not what is measured.
  void connect(connection& c) {
    c.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(settings_.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c.socket < 0 || ::connect(c.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      bench::fail(std::string("Cannot connect to the server: ") + std::generic_category().message(errno) + ".", 1);
    int on = 1;
    setsockopt(c.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &c;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.socket, &event);
  }

  void start_requests() {
    double gap_ns = settings_.spread_ms * 1e6 / double(connections_.size());
    uint64_t begin = now();
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      uint64_t due = begin + uint64_t(gap_ns * double(i));
      if (now() < due) serve_until(due);
      send_next(connections_[i]);
    }
  }

  void serve_until(uint64_t end) {
    std::array<epoll_event, 512> events;
    for (uint64_t t = now(); t < end; t = now()) {
      timespec rest{time_t((end - t) / 1000000000u), long((end - t) % 1000000000u)};
      int n = epoll_pwait2(epoll_, events.data(), int(events.size()), &rest, nullptr);
      for (int i = 0; i < n; ++i) on_event(*static_cast<connection*>(events[i].data.ptr), events[i].events);
    }
  }

  void on_event(connection& c, uint32_t flags) {
    if (flags & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) bench::fail("The server closed a connection.", 1);
    message answer;
    auto* bytes = reinterpret_cast<char*>(answer.data());
    // Only the missing bytes are asked for: the server never sends more, and a short read means that the
    // next bytes bring a new edge.
    ssize_t n = recv(c.socket, bytes, message_bytes - c.received, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) bench::fail("Reading an answer failed.", 1);
    const char* expected = reinterpret_cast<const char*>(c.expected.data()) + c.received;
    if (std::memcmp(bytes, expected, std::size_t(n)) != 0) bench::fail("The server sent wrong bytes.", 1);
    c.received += std::size_t(n);
    if (c.received < message_bytes) return;
    latencies_.add(now() - c.sent_ns);
    ++requests_;
    send_next(c);
  }

  void send_next(connection& c) {
    uint64_t seed = uint64_t(&c - connections_.data()) << 40 | ++c.sequence;
    for (auto& word : c.expected) word = seed = mix(seed);
    c.received = 0;
    c.sent_ns = now();
    // Nothing else is in flight on this connection, so 64 bytes always fit into the socket's buffer.
    if (send(c.socket, c.expected.data(), message_bytes, MSG_NOSIGNAL) != ssize_t(message_bytes))
      bench::fail("Sending a request failed.", 1);
  }

  uint64_t server_cpu_ns() const { return settings_.pid ? clock_ns(server_clock_) : 0; }

  void report(double window_ns, double server_cpu_ns) const {
    if (requests_ == 0) bench::fail("The server answered no request in the measured window.", 1);
    bench::report("", "ops_s", double(requests_) / window_ns * 1e9, "1/s");
    bench::report("", "p50_us", latencies_.percentile_us(50), "us");
    bench::report("", "p99_us", latencies_.percentile_us(99), "us");
    bench::report("", "p999_us", latencies_.percentile_us(99.9), "us");
    if (settings_.pid == 0) return;
    bench::report("", "cpu_us_op", server_cpu_ns / 1e3 / double(requests_), "us");
    auto m = bench::memory_of(std::to_string(settings_.pid));
    bench::report("", "rss_bytes", m.rss_bytes, "bytes");
    bench::report("", "rss_bytes_each", m.rss_bytes / double(connections_.size()), "bytes");
  }

  settings settings_;
  std::vector<connection> connections_;
  int epoll_;
  clockid_t server_clock_ = 0;
  uint64_t requests_ = 0;
  histogram latencies_;
};

}  // namespace

int main(int argc, char** argv) {
  client c(parse(argc, argv));
  c.run();
}
