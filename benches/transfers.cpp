// transfers: 5,000 fibers in curl_easy_perform() at once. Each holds the first piece of its page until all have theirs;
// at that moment the OS threads are counted.
#include <curl/curl.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "thrum_bench.hpp"

namespace {

using bench::options;

constexpr std::string_view page = "a page that all of them ask for\n";

struct transfer {
  thrum::latch* all_have_begun;
  std::string body;
};

std::size_t take(char* data, std::size_t size, std::size_t n, void* to) {
  auto& t = *static_cast<transfer*>(to);
  const thrum::this_fiber::pin stay;  // libcurl has cached where this thread's errno is.
  if (t.body.empty()) t.all_have_begun->arrive_and_wait();
  t.body.append(data, size * n);
  return size * n;
}

void fetch(const std::string& url, thrum::latch& all_have_begun) {
  transfer t{&all_have_begun, {}};
  CURL* c = curl_easy_init();
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
  const auto code = curl_easy_perform(c);
  if (code != CURLE_OK || t.body != page) bench::fail(curl_easy_strerror(code), 1);
  curl_easy_cleanup(c);
}

double os_threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return double(std::distance(begin(all), end(all)));
}

// A transfer has its socket, the two ends by which libcurl wakes itself, and what thrum waits with.
constexpr long descriptors_each = 4;

// More than the hard limit, where that is allowed.
void raise_descriptor_limit() {
  const rlimit wanted{65'536, 65'536};
  if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) bench::raise_file_limit();
}

void check_descriptors(long n) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < rlim_t(n * descriptors_each))
    bench::fail("The limit of descriptors (ulimit -n) is too low: " + std::to_string(n * descriptors_each) +
                " are needed.");
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value) bench::fail(std::string(name) + " is not set: tools/private_servers says what it is.");
  return value;
}

void run(const options& o) {
  const long n = o.scaled(5000);
  check_descriptors(n);
  std::ofstream(variable("NGINX_FILES") + "/page") << page;
  const auto url = "http://127.0.0.1:" + variable("NGINX_PORT") + "/page";
  thrum::latch all_have_begun(n + 1);
  const double cpu = bench::cpu_seconds();
  const double ns = bench::timed_ns([&] {
    auto fibers = bench::start(n, [&](long) { fetch(url, all_have_begun); });
    all_have_begun.arrive_and_wait();
    bench::report("", "threads_beside_workers", os_threads() - o.workers, "threads");
    bench::join(fibers);
  });
  bench::report("", "ops_s", double(n) / (ns * 1e-9), "ops/s");
  bench::report("", "cpu_us_op", (bench::cpu_seconds() - cpu) * 1e6 / double(n), "us");
}

}  // namespace

int main(int argc, char** argv) {
  raise_descriptor_limit();
  curl_global_init(CURL_GLOBAL_DEFAULT);
  return bench::in_runtime(argc, argv, run);
}
