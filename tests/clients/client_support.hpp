// What the tests of client libraries share: the servers, started once for a suite, and the proof that whoever waits in
// a library keeps no thread.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "private_servers.hpp"
#include "support.hpp"

namespace thrum::test {

inline std::size_t os_threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Beside the workers: the thread that called run(), the monitor, spares; and the offload pool's, which ask for names.
inline constexpr std::size_t other_threads_max = 12 + 64;

// For a moment at which many wait.
inline void expect_few_threads(unsigned workers) { EXPECT_LE(os_threads(), workers + other_threads_max); }

// A suite whose tests talk to the server of Kind::server: `struct kind { static constexpr auto server = "redis"; }`.
template <class Kind>
class server_test : public on_workers {
 protected:
  static void SetUpTestSuite() {
    servers_ = std::make_unique<private_servers>(std::vector<std::string>{Kind::server});
    Kind::prepare(*servers_);
  }
  static void TearDownTestSuite() { servers_.reset(); }
  static private_servers& servers() { return *servers_; }

  void SetUp() override {
    if (!servers_->absent().empty()) GTEST_SKIP() << servers_->absent();
  }
  void expect_few_threads() const { test::expect_few_threads(GetParam()); }

  static void restart() {
    servers_->stop(Kind::server);
    servers_->start(Kind::server);
  }

 private:
  inline static std::unique_ptr<private_servers> servers_;
};

// f(0) to f(n - 1), a fiber each; returns when all have ended.
template <class F>
void in_fibers(int n, F f) {
  scope all;
  for (int i = 0; i < n; ++i) all.go([&f, i] { f(i); });
  all.join();
}

// errno in words, as libraries print it.
inline std::string message_of(int error) { return std::generic_category().message(error); }

// An address at which connect(2) gets no answer: a listener whose queue is full.
class silent_listener {
 public:
  silent_listener() {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    EXPECT_EQ(::listen(listener_, 0), 0);
    socklen_t size = sizeof a;
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &size), 0);
    port_ = ntohs(a.sin_port);
    for (auto& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      EXPECT_TRUE(::connect(filler, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 || errno == EINPROGRESS);
    }
  }
  ~silent_listener() {
    for (const int filler : fillers_) ::close(filler);
    ::close(listener_);
  }
  silent_listener(const silent_listener&) = delete;
  silent_listener& operator=(const silent_listener&) = delete;
  int port() const { return port_; }

 private:
  int listener_ = -1;
  int port_ = 0;
  std::array<int, 4> fillers_{};
};

}  // namespace thrum::test
