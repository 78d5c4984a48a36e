// What the C++ servers share: the first line that tells the driver the port, and the end on SIGTERM that
// reports how much CPU the server used. Plain sockets only; the models differ in how they wait, not here.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <system_error>
#include <thread>

#include "bench.hpp"

namespace bench {

constexpr int backlog = 4096;      // the same in every server
constexpr int message_bytes = 64;  // c10k, mixed: a request and its answer

inline void announce(unsigned port) {
  std::printf("PORT %u\n", port);
  std::fflush(stdout);
}

// SIGTERM is blocked for all threads started later and served by one thread that waits for it.
inline void report_on_sigterm() {
  static sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([] {
    int signal = 0;
    sigwait(&set, &signal);
    report("", "cpu_total_s", cpu_seconds(), "s");
    _exit(0);
  }).detach();
}

// Before the first thread of the server.
inline void prepare_server() {
  raise_file_limit();
  report_on_sigterm();
}

inline void no_delay(int socket) {
  int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

inline int listen_on_loopback(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, backlog) != 0)
    fail("Cannot listen on port " + std::to_string(port) + ": " + std::generic_category().message(errno) + ".", 1);
  socklen_t length = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  announce(ntohs(address.sin_port));
  return listener;
}

}  // namespace bench
