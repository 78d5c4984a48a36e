// What every C++ benchmark program here shares: its command line, its clock, what the kernel says about
// this process, and the JSON lines that driver.py reads. It knows nothing of thrum, so that the peers
// written in C++ can use it too.
//
// The command line is the same for all programs, in every language:
//   PROGRAM [BENCH] --workers N [--quick] [--count N] [--kind WORD] [--hogs N] [--seconds S]
//           [--port N] [--delay-ms N] [--borrow] [--buffer BYTES] [--certificate FILE --key FILE]
// Each result is one line: {"variant_suffix":"","metric":"ns_op","value":12.3,"unit":"ns"}
#pragma once
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// A bench that a program does not offer ends with this status; the driver then shows a dash.
constexpr int exit_not_offered = 3;

struct options {
  std::string bench;
  unsigned workers = 1;
  bool quick = false;
  long count = 0;             // 0 = the bench's own size
  std::string kind = "spin";  // hog_fairness: spin, syscall or call
  unsigned hogs = 1;          // hog_fairness: hogs for each worker
  double seconds = 3;         // hog_fairness and parked_memory
  int port = 0;
  long delay_ms = 100;           // c10k: how long the "database" takes
  bool borrow = false;           // echo, c10k: take a buffer only once data has come
  std::size_t buffer = 1024;     // servers: bytes of the buffer of a connection
  std::string certificate, key;  // tls: PEM files

  // A tenth of the work with --quick; --count overrides both.
  long scaled(long full) const { return count ? count : quick ? full / 10 : full; }
};

[[noreturn]] inline void fail(const std::string& sentence, int status = 2) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::exit(status);
}

template <class Number>
Number number(std::string_view option, std::string_view text) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < Number{})
    fail(std::string(option) + " needs a number that is not negative, but got '" + std::string(text) + "'.");
  return value;
}

inline void set_option(options& o, std::string_view name, std::string_view value) {
  if (name == "--workers")
    o.workers = number<unsigned>(name, value);
  else if (name == "--count")
    o.count = number<long>(name, value);
  else if (name == "--kind")
    o.kind = value;
  else if (name == "--hogs")
    o.hogs = number<unsigned>(name, value);
  else if (name == "--seconds")
    o.seconds = number<double>(name, value);
  else if (name == "--port")
    o.port = number<int>(name, value);
  else if (name == "--delay-ms")
    o.delay_ms = number<long>(name, value);
  else if (name == "--buffer")
    o.buffer = number<std::size_t>(name, value);
  else if (name == "--certificate")
    o.certificate = value;
  else if (name == "--key")
    o.key = value;
  else
    fail("There is no option '" + std::string(name) + "'.");
}

inline options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word == "--quick")
      o.quick = true;
    else if (word == "--borrow")
      o.borrow = true;
    else if (word.substr(0, 2) != "--")
      o.bench = word;
    else if (i + 1 == argc)
      fail(std::string(word) + " needs a value.");
    else
      set_option(o, word, argv[++i]);
  }
  if (o.workers == 0) fail("--workers must be at least 1.");
  return o;
}

inline void report(std::string_view suffix, std::string_view metric, double value, std::string_view unit) {
  std::printf("{\"variant_suffix\":\"%.*s\",\"metric\":\"%.*s\",\"value\":%.6g,\"unit\":\"%.*s\"}\n",
              int(suffix.size()), suffix.data(), int(metric.size()), metric.data(), value, int(unit.size()),
              unit.data());
  std::fflush(stdout);
}

inline double now_ns() {
  using namespace std::chrono;
  return double(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

template <class F>
double timed_ns(F&& work) {
  double start = now_ns();
  work();
  return now_ns() - start;
}

// Runs `work(operations)` once to warm up with a tenth of the operations, then measures one run.
template <class F>
void measure(std::string_view suffix, long operations, F&& work) {
  work(std::max(1L, operations / 10));
  report(suffix, "ns_op", timed_ns([&] { work(operations); }) / double(operations), "ns");
}

inline double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * double(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct memory {
  double rss_bytes = 0;
  double page_table_bytes = 0;
};

// The kernel's own figures for a process: its resident pages and the page tables that map them.
inline memory memory_of(const std::string& process = "self") {
  memory m;
  std::ifstream status("/proc/" + process + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) m.rss_bytes = 1024 * std::strtod(line.c_str() + 6, nullptr);
    if (line.rfind("VmPTE:", 0) == 0) m.page_table_bytes = 1024 * std::strtod(line.c_str() + 6, nullptr);
  }
  return m;
}

inline double percentile(std::vector<double>& values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, std::size_t(p / 100 * double(values.size())))];
}

// 1000000 -> "1m", 10000 -> "10k": the suffix that tells sizes apart.
inline std::string size_name(long n) {
  if (n >= 1000000 && n % 1000000 == 0) return std::to_string(n / 1000000) + "m";
  if (n >= 1000 && n % 1000 == 0) return std::to_string(n / 1000) + "k";
  return std::to_string(n);
}

// hog_fairness: what the ticker saw. The names and meaning are the same in every language.
inline void report_ticks(const options& o, std::vector<double>& lateness_us) {
  std::string suffix = o.kind + "-" + std::to_string(o.hogs) + "x";
  report(suffix, "ticks", double(lateness_us.size()), "ticks");
  report(suffix, "p50_us", percentile(lateness_us, 50), "us");
  report(suffix, "p99_us", percentile(lateness_us, 99), "us");
}

// parked_memory: sampled while every activity is parked. `before` was sampled before the first was started.
inline void report_parked(long n, const memory& before, const memory& parked, double idle_cpu_ms_per_s) {
  double rss = parked.rss_bytes - before.rss_bytes;
  double tables = parked.page_table_bytes - before.page_table_bytes;
  report(size_name(n), "rss_bytes_each", rss / double(n), "bytes");
  report(size_name(n), "rss_pte_bytes_each", (rss + tables) / double(n), "bytes");
  report(size_name(n), "idle_cpu_ms_s", idle_cpu_ms_per_s, "ms/s");
}

// CPU milliseconds that this process uses per second while `pause` (a wait of one second) goes on.
template <class F>
double idle_cpu_ms_per_s(F&& pause) {
  double cpu = cpu_seconds(), start = now_ns();
  pause();
  return 1e3 * (cpu_seconds() - cpu) / ((now_ns() - start) * 1e-9);
}

// 10,000 connections are more files than the usual soft limit.
inline void raise_file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace bench
