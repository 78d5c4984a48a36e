// Programs of others at the other end: curl, wrk, socat and nginx, each in a process of its own, on loopback. A test is
// skipped where its program is not installed.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <thrum/net/buffered_writer.hpp>
#include <thrum/net/unix_stream.hpp>
#include <thrum/process.hpp>

#include "network_support.hpp"
#include "private_servers.hpp"

namespace thrum {
namespace {

using namespace test;
namespace fs = std::filesystem;

std::string installed(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"})
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  return {};
}

class peers_test : public on_workers {
 protected:
  // f(the program's path), unless there is none.
  template <class F>
  void run_with(const std::string& program, F f) {
    const auto path = installed(program);
    if (path.empty()) GTEST_SKIP() << program << " is not installed";
    run([&] { f(path); });
  }
};
INSTANTIATE_TEST_SUITE_P(workers, peers_test, worker_counts, count_name);

// Sockets of files, configurations and what nginx writes.
struct private_folder {
  const fs::path path = fs::temp_directory_path() / ("thrum-peers-" + std::to_string(::getpid()));
  private_folder() { fs::create_directory(path); }
  ~private_folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

std::string successful(std::vector<std::string> argv, std::string_view input = {}) {
  const auto r = run_process(argv, input, {.timeout = hang_guard});
  EXPECT_TRUE(r.status.success()) << argv.front() << ": " << r.errors;
  return r.output;
}

// ---------------------------------------------------------------------------------------------------------------
// As much of HTTP/1.1 as these programs need.

struct message {
  std::string start;
  std::map<std::string, std::string> fields;  // By their names in small letters.
  std::string body;
};

template <class Reader>
std::optional<message> read_message(Reader& in) {
  message m;
  const auto start = in.read_line();
  if (!start) return {};
  m.start = *start;
  while (const auto line = in.read_line()) {
    if (line->empty()) break;
    const auto colon = line->find(':');
    std::string name(line->substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    m.fields[name] = line->substr(line->find_first_not_of(' ', colon + 1));
  }
  if (const auto length = m.fields.find("content-length"); length != m.fields.end())
    m.body.resize(std::stoul(length->second));
  in.read_exactly(std::as_writable_bytes(std::span(m.body)));
  return m;
}

// What was asked for, and what was sent along.
void serve_http(tcp_stream c) {
  net::buffered_reader in(c);
  while (const auto request = read_message(in)) {
    const auto target = request->start.substr(0, request->start.rfind(' '));
    const auto body = target + "\n" + request->body;
    const bool last = request->start.ends_with("HTTP/1.0");
    c.write_all(bytes("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
                      (last ? "Connection: close\r\n" : "") + "\r\n" + body));
    if (last) return;
  }
}

// f(its address) beside a server of ours; returns how its connections have ended.
template <class F>
net::server_report beside_our_server(void (*handler)(tcp_stream), F f) {
  net::server server(tcp_listener::bind("127.0.0.1:0"), handler);
  auto serving = spawn([&] { server.serve(); });
  f(here(server.listener()));
  const auto r = server.shutdown(hang_guard);
  serving.join();
  EXPECT_EQ(r.cancelled, 0u);
  return r;
}

TEST_P(peers_test, curl_gets_posts_and_keeps_its_connection) {
  run_with("curl", [](const std::string& curl) {
    const auto r = beside_our_server(serve_http, [&](const std::string& address) {
      EXPECT_EQ(successful({curl, "-sS", "http://" + address + "/[1-3]"}), "GET /1\nGET /2\nGET /3\n");
      const std::string large(1 << 20, 'L');
      EXPECT_EQ(successful({curl, "-sS", "-H", "Expect:", "--data-binary", "@-", address + "/post"}, large),
                "POST /post\n" + large);
      EXPECT_EQ(successful({curl, "-sS", "--http1.0", address + "/old"}), "GET /old\n");
    });
    EXPECT_EQ(r.served + r.drained, 3u);
    EXPECT_EQ(r.failed, 0u);
  });
}

// In the end it leaves in the middle of its requests, which is no fault of ours.
TEST_P(peers_test, wrk_finds_no_fault) {
  run_with("wrk", [](const std::string& wrk) {
    beside_our_server(serve_http, [&](const std::string& address) {
      const auto told = successful({wrk, "-t1", "-c20", "-d1s", "http://" + address + "/"});
      EXPECT_NE(told.find("requests in"), std::string::npos) << told;
      EXPECT_EQ(told.find(" 0 requests in"), std::string::npos) << told;
      EXPECT_EQ(told.find("Socket errors"), std::string::npos) << told;
      EXPECT_EQ(told.find("Non-2xx"), std::string::npos) << told;
    });
  });
}

TEST_P(peers_test, socat_hears_its_echo_after_it_has_ended_its_side) {
  run_with("socat", [](const std::string& socat) {
    const auto r = beside_our_server([](tcp_stream c) { echo_all(c); },
                                     [&](const std::string& address) {
                                       const std::string much(500'000, 's');
                                       EXPECT_EQ(successful({socat, "-t60", "-", "TCP:" + address}, much), much);
                                     });
    EXPECT_EQ(r.served + r.drained, 1u);
  });
}

net::unix_stream connect_once_it_listens(const std::string& path) {
  net::unix_stream s;
  EXPECT_TRUE(eventually([&] {
    std::error_code error;
    s = net::unix_stream::connect(path, hang_guard, error);
    return !error;
  }));
  return s;
}

TEST_P(peers_test, socat_serves_us_over_a_unix_socket) {
  run_with("socat", [](const std::string& socat) {
    const private_folder folder;
    auto serving =
        process::spawn({socat, "UNIX-LISTEN:" + (folder / "echo") + ",fork", "EXEC:cat"}, {.new_group = true});
    for_each_concurrent(std::vector<int>(3), 3, [&](int) {
      auto c = connect_once_it_listens(folder / "echo");
      const std::string much(200'000, 'u');
      fiber writing = spawn([&] {
        c.write_all(bytes(much));
        c.shutdown_write();
      });
      std::string back(much.size(), '\0');
      c.read_exactly(std::as_writable_bytes(std::span(back)));
      EXPECT_EQ(back, much);
      writing.join();
    });
    serving.terminate(hang_guard);
  });
}

message ask(net::unix_stream& c, net::buffered_reader<net::unix_stream>& in, const std::string& request,
            const std::string& body = {}) {
  c.write_all(
      bytes(request + " HTTP/1.1\r\nHost: here\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n"));
  c.write_all(bytes(body));
  auto answer = read_message(in);
  EXPECT_TRUE(answer) << request;
  return answer ? std::move(*answer) : message();
}

TEST_P(peers_test, nginx_serves_our_client_and_passes_it_on_to_our_server) {
  run_with("nginx", [](const std::string& nginx) {
    const std::string large(3'000'000, 'n');
    beside_our_server(serve_http, [&](const std::string& address) {
      const private_servers servers({"nginx"}, "NGINX_BEHIND=" + address);
      ASSERT_EQ(servers.absent(), "") << nginx;
      std::ofstream(servers["NGINX_FILES"] + "/large") << large;
      auto c = net::unix_stream::connect(servers["NGINX_SOCKET"]);
      net::buffered_reader in(c);
      EXPECT_EQ(ask(c, in, "GET /large").body, large);
      EXPECT_EQ(ask(c, in, "GET /none").start, "HTTP/1.1 404 Not Found");
      EXPECT_EQ(ask(c, in, "POST /ours/1", large).body, "POST /ours/1\n" + large);
      EXPECT_EQ(ask(c, in, "GET /ours/2").body, "GET /ours/2\n");
    });
  });
}

}  // namespace
}  // namespace thrum
