// The one load generator for every server of echo, c10k, churn, mixed and tls.
//
// One thread, one edge-triggered epoll, N connections. Every request is different, and every byte of its answer is
// checked, so an answer that belongs to another connection or another request is found. After a warm-up, a window of
// fixed length is measured: requests, latencies and the CPU time of the server process, read from its CPU clock at
// both ends of the window.
//
//   load_client --port P --connections N [--warmup S] [--seconds S] [--pid SERVER] [--bytes B] [--tls 1]
//               [--spread-ms M] [--depth D | --churn 1 | --rate R | --idle 1] [--compute-percent C]
//
// Closed loop, the default: each connection sends, waits for the answer, and sends the next. --spread-ms spreads the
// first requests over M milliseconds, so that 10,000 connections whose answers take 100 ms do not all ask in the same
// instant for ever. --depth keeps D requests under way on each connection; what answers allow leaves in one call.
// --churn: connect, one request, one answer, close; N at a time. A latency is from connect().
//
// Open loop, --rate: R requests per second in all, at random instants (a Poisson process) that are fixed beforehand,
// each by the connection that has been free for longest. A latency is from the instant at which the request was due,
// also when no connection was free or this program was late, so nothing is omitted because the server is slow.
//
// --idle: one request by each connection, then silence; weighed is what the server has taken since before the first
// connection, by connection.
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <cmath>
#include <deque>

#include "load/histogram.hpp"
#include "load/requests.hpp"
#include "load/wire.hpp"

namespace {

struct settings {
  int port = 0;
  std::size_t connections = 100, bytes = 64, depth = 1;
  double warmup = 1, seconds = 3, spread_ms = 0, rate = 0, compute_percent = 0;
  bool churn = false, idle = false, tls = false;
  int pid = 0;
};

settings parse(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; i += 2) {
    std::string_view name = argv[i];
    if (i + 1 == argc) bench::fail(std::string(name) + " needs a value.");
    std::string_view value = argv[i + 1];
    auto set = [&](std::string_view option, auto& to) {
      using number = std::conditional_t<std::is_same_v<decltype(to), bool&>, int, std::decay_t<decltype(to)>>;
      if (name == option) to = static_cast<std::decay_t<decltype(to)>>(bench::number<number>(name, value));
      return name == option;
    };
    if (!(set("--port", s.port) || set("--connections", s.connections) || set("--bytes", s.bytes) ||
          set("--depth", s.depth) || set("--warmup", s.warmup) || set("--seconds", s.seconds) ||
          set("--spread-ms", s.spread_ms) || set("--rate", s.rate) || set("--compute-percent", s.compute_percent) ||
          set("--churn", s.churn) || set("--idle", s.idle) || set("--tls", s.tls) || set("--pid", s.pid)))
      bench::fail("There is no option '" + std::string(name) + "'.");
  }
  if (s.port == 0 || s.connections == 0) bench::fail("load_client needs --port and at least one connection.");
  if (s.churn + s.idle + (s.rate > 0) + (s.depth > 1) > 1)
    bench::fail("Only one of --depth, --churn, --rate and --idle is possible at a time.");
  // What is under way has to fit into the socket's buffers, for send() blocks; and OpenSSL makes records of 16 KiB.
  if (s.bytes < load::header_bytes || s.bytes * s.depth > 16384 || s.depth == 0)
    bench::fail("The requests under way on a connection must have from 8 to 16384 bytes in all.");
  return s;
}

struct connection {
  load::wire wire;
  uint64_t sent = 0, answered = 0;  // requests
  std::size_t received = 0;         // bytes of the answer that is coming
  std::vector<uint64_t> began_ns;   // by number of the request, modulo the depth
};

uint64_t clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

uint64_t now() { return clock_ns(CLOCK_MONOTONIC); }

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

// The instants at which the requests of the open loop are due.
class schedule {
 public:
  schedule(double rate, uint64_t begin) : mean_gap_ns_(1e9 / rate), next_(double(begin)) {}
  uint64_t next() const { return uint64_t(next_); }
  void advance() {
    random_ = load::mix(random_ + 0x9e3779b97f4a7c15u);
    next_ -= mean_gap_ns_ * std::log((double(random_ >> 11) + 1) * 0x1p-53);
  }

 private:
  double mean_gap_ns_, next_;
  uint64_t random_ = 1;
};

class client {
 public:
  explicit client(const settings& s)
      : settings_(s),
        tls_(s.tls),
        requests_(s.bytes, s.compute_percent),
        buffer_(s.bytes * s.depth),
        connections_(s.connections),
        epoll_(epoll_create1(0)) {
    raise_file_limit(s.connections + 16);
    prctl(PR_SET_TIMERSLACK, 1);  // The open loop's instants are in microseconds.
    if (s.pid != 0 && clock_getcpuclockid(s.pid, &server_clock_) != 0)
      bench::fail("There is no server process " + std::to_string(s.pid) + ".", 1);
    before_ = server_memory();
    for (auto& c : connections_) {
      c.began_ns.resize(s.depth);
      connect(c);
    }
  }

  void run() {
    shake_hands();
    if (settings_.idle) return run_idle();
    if (settings_.rate > 0)
      for (auto& c : connections_) free_.push_back(&c);
    else
      start_requests();
    serve_for(settings_.warmup);
    answered_ = 0;
    all_.clear();
    plain_.clear();
    uint64_t cpu = server_cpu_ns(), begin = now();
    serve_for(settings_.seconds);
    // On a machine that is busy otherwise nothing may have come yet: then the window is longer.
    for (const uint64_t hung = begin + 60'000'000'000u; answered_ == 0 && now() < hung;) serve_until(now() + 1'000'000);
    report(double(now() - begin), double(server_cpu_ns() - cpu));
  }

 private:
  // One after the other and blocking: but for churn, the server's accept loop is not what is measured.
  void connect(connection& c) {
    c.wire.connect(settings_.port, connects_++, tls_);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &c;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.wire.socket(), &event);
  }

  // Of all connections, before the first request.
  void shake_hands() {
    for (bool all = false; !all;) {
      all = true;
      for (auto& c : connections_) all &= c.wire.shake_hands();
    }
  }

  void run_idle() {
    start_requests();
    while (answered_ < connections_.size()) serve_until(now() + 10000000);
    serve_for(settings_.seconds);
    if (answered_ != connections_.size()) bench::fail("Idle connections were not idle.", 1);
    const auto after = server_memory();
    report_memory(after.rss_bytes - before_.rss_bytes, "rss_bytes_each");
    report_memory(after.rss_bytes - before_.rss_bytes + after.page_table_bytes - before_.page_table_bytes,
                  "rss_pte_bytes_each");
  }

  void report_memory(double bytes, const char* metric) const {
    bench::report("", metric, bytes / double(connections_.size()), "bytes");
  }

  void start_requests() {
    double gap_ns = settings_.spread_ms * 1e6 / double(connections_.size());
    uint64_t begin = now();
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      uint64_t due = begin + uint64_t(gap_ns * double(i));
      if (now() < due) serve_until(due);
      begin_requests(connections_[i], settings_.depth, now());
    }
  }

  void serve_for(double seconds) {
    const uint64_t begin = now(), end = begin + uint64_t(seconds * 1e9);
    if (settings_.rate == 0) return serve_until(end);
    for (schedule s(settings_.rate, begin); s.next() < end; s.advance()) {
      serve_until(s.next());
      due_.push_back(s.next());
      send_due();
    }
    serve_until(end);
  }

  void send_due() {
    while (!due_.empty() && !free_.empty()) {
      connection& c = *free_.front();
      free_.pop_front();
      begin_requests(c, 1, due_.front());
      due_.pop_front();
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
    if (!c.wire.shake_hands()) return;
    if (c.sent == c.answered && settings_.churn)
      return begin_requests(c, 1, c.began_ns[0]);  // The handshake has ended.
    // Only the missing bytes are asked for: the server never sends more, and a short read means that the next bytes
    // bring a new edge.
    std::size_t answers = 0;
    while (c.sent > c.answered) {
      const std::size_t missing = (c.sent - c.answered) * requests_.bytes() - c.received;
      const std::size_t n = c.wire.receive(buffer_.data(), missing);
      answers += check(c, n);
      if (n == 0 || !c.wire.in_records()) break;
    }
    if (answers > 0) after_answers(c, answers);
  }

  // Compares what has come with what was sent; returns how many answers it completes.
  std::size_t check(connection& c, std::size_t size) {
    const std::size_t before = c.answered;
    for (std::size_t at = 0; at < size;) {
      const std::size_t part = std::min(size - at, requests_.bytes() - c.received);
      if (!requests_.matches(id(c), c.answered, c.received, buffer_.data() + at, part))
        bench::fail("The server sent wrong bytes.", 1);
      at += part;
      c.received += part;
      if (c.received == requests_.bytes()) note_answer(c);
    }
    return c.answered - before;
  }

  void note_answer(connection& c) {
    const uint64_t latency = now() - c.began_ns[c.answered % settings_.depth];
    all_.add(latency);
    if (settings_.compute_percent > 0 && !requests_.computes(id(c), c.answered)) plain_.add(latency);
    ++c.answered;
    ++answered_;
    c.received = 0;
  }

  void after_answers(connection& c, std::size_t answers) {
    if (settings_.idle) return;
    if (settings_.rate > 0) {
      free_.push_back(&c);
      return send_due();
    }
    const uint64_t t = now();
    if (settings_.churn) {
      c.wire.close();
      c.began_ns[0] = t;
      connect(c);
      // Without a handshake nothing has to come first.
      if (!c.wire.shake_hands()) return;
    }
    begin_requests(c, answers, t);
  }

  // In one call. Their latency is counted from `began_ns`.
  void begin_requests(connection& c, std::size_t n, uint64_t began_ns) {
    for (std::size_t i = 0; i < n; ++i, ++c.sent) {
      requests_.make(id(c), c.sent, buffer_.data() + i * requests_.bytes());
      c.began_ns[c.sent % settings_.depth] = began_ns;
    }
    c.wire.send(buffer_.data(), n * requests_.bytes());
  }

  uint64_t id(const connection& c) const { return uint64_t(&c - connections_.data()); }
  uint64_t server_cpu_ns() const { return settings_.pid ? clock_ns(server_clock_) : 0; }
  bench::memory server_memory() const {
    return settings_.pid ? bench::memory_of(std::to_string(settings_.pid)) : bench::memory();
  }

  void report(double window_ns, double server_cpu_ns) const {
    if (answered_ == 0) bench::fail("The server answered no request in the measured window.", 1);
    bench::report("", "ops_s", double(answered_) / window_ns * 1e9, "1/s");
    bench::report("", "p50_us", all_.percentile_us(50), "us");
    bench::report("", "p99_us", all_.percentile_us(99), "us");
    bench::report("", "p999_us", all_.percentile_us(99.9), "us");
    if (settings_.compute_percent > 0) bench::report("", "plain_p999_us", plain_.percentile_us(99.9), "us");
    if (settings_.pid == 0) return;
    bench::report("", "cpu_us_op", server_cpu_ns / 1e3 / double(answered_), "us");
    const auto m = server_memory();
    bench::report("", "rss_bytes", m.rss_bytes, "bytes");
    report_memory(m.rss_bytes, "rss_bytes_each");
  }

  const settings settings_;
  const load::tls_client tls_;
  const load::requests requests_;
  std::vector<char> buffer_;
  std::vector<connection> connections_;
  std::deque<connection*> free_;  // open loop: the one that has been free for longest is first
  std::deque<uint64_t> due_;      // open loop: instants for which no connection was free
  int epoll_;
  unsigned connects_ = 0;
  clockid_t server_clock_ = 0;
  bench::memory before_;
  uint64_t answered_ = 0;
  load::histogram all_, plain_;
};

}  // namespace

int main(int argc, char** argv) {
  client c(parse(argc, argv));
  c.run();
}
