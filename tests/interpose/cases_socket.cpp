// accept and connect.
#include <cstring>

#include <netinet/in.h>
#include <sys/time.h>
#include <sys/un.h>

#include "cases.hpp"

namespace interpose_cases {
namespace {

struct listener {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};

  explicit listener(int backlog = 16) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(fd, generic(), sizeof address);
    socklen_t size = sizeof address;
    ::getsockname(fd, generic(), &size);
    if (backlog >= 0) ::listen(fd, backlog);
  }
  ~listener() { ::close(fd); }
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;

  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address); }
};

void accept_waits(record& r) {
  listener l;
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  int fd = -1;
  {
    const later connector([&] { ::connect(client, l.generic(), sizeof l.address); });
    r.call("accept", [&] { return (fd = ::accept(l.fd, reinterpret_cast<sockaddr*>(&peer), &size)) >= 0; });
  }
  sockaddr_in own{};
  socklen_t own_size = sizeof own;
  ::getsockname(client, reinterpret_cast<sockaddr*>(&own), &own_size);
  r.note("size", size);
  r.note("peer", peer.sin_port == own.sin_port);
  r.note("flags", ::fcntl(fd, F_GETFL) & O_NONBLOCK);
  r.note("kept", ::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  ::close(fd);
  ::close(client);
  const int another = ::socket(AF_INET, SOCK_STREAM, 0);
  {
    const later connector([&] { ::connect(another, l.generic(), sizeof l.address); });
    r.call("accept4", [&] { return (fd = ::accept4(l.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; });
  }
  r.note("flags", ::fcntl(fd, F_GETFL) & O_NONBLOCK);
  r.note("kept", ::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  ::close(fd);
  ::close(another);
}

void accept_fails(record& r) {
  listener l;
  const timeval t{.tv_sec = 0, .tv_usec = 20'000};
  ::setsockopt(l.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  r.call_for(20ms, "time", [&] { return ::accept(l.fd, nullptr, nullptr); });
  ::fcntl(l.fd, F_SETFL, O_NONBLOCK);
  r.call("not blocking", [&] { return ::accept(l.fd, nullptr, nullptr); });
  listener not_listening(-1);
  r.call("no listener", [&] { return ::accept(not_listening.fd, nullptr, nullptr); });
  auto p = ends::pipe();
  r.call("no socket", [&] { return ::accept(p.a, nullptr, nullptr); });
  r.call("bad", [&] { return ::accept4(-1, nullptr, nullptr, 0); });
  listener shut;
  const later shutter([&] { ::shutdown(shut.fd, SHUT_RDWR); });
  r.call("shut down", [&] { return ::accept(shut.fd, nullptr, nullptr); });
}

void connects(record& r) {
  listener l;
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  timeval time{.tv_sec = 7, .tv_usec = 0};
  ::setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  r.call("connect", [&] { return ::connect(client, l.generic(), sizeof l.address); });
  r.call("again", [&] { return ::connect(client, l.generic(), sizeof l.address); });
  r.note("mode", ::fcntl(client, F_GETFL));
  socklen_t size = sizeof time;
  ::getsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, &size);
  r.note("time", time.tv_sec * 1'000'000 + time.tv_usec);
  r.call("send", [&] { return ::send(client, "x", 1, 0); });
  ::close(client);
}

void connect_fails(record& r) {
  listener not_listening(-1);
  const auto* address = not_listening.generic();
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  r.call("refused", [&] { return ::connect(client, address, sizeof not_listening.address); });
  r.call("refused", [&] { return ::connect(client, address, sizeof not_listening.address); });
  r.call("short", [&] { return ::connect(client, address, 3); });
  ::close(client);
  r.call("bad", [&] { return ::connect(-1, address, sizeof not_listening.address); });
  auto p = ends::pipe();
  r.call("no socket", [&] { return ::connect(p.a, address, sizeof not_listening.address); });
  const int datagrams = ::socket(AF_INET, SOCK_DGRAM, 0);
  r.call("datagrams", [&] { return ::connect(datagrams, address, sizeof not_listening.address); });
  ::close(datagrams);
}

// A listener that accepts nobody and whose queue is full: nothing answers, until the time is over.
void connect_takes_too_long(record& r) {
  listener l(0);
  int waiting[8];
  for (int& fd : waiting) {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ::connect(fd, l.generic(), sizeof l.address);
  }
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  const timeval time{.tv_sec = 0, .tv_usec = 60'000};
  ::setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  r.call_for(60ms, "connect", [&] { return ::connect(client, l.generic(), sizeof l.address); });
  ::close(client);
  for (const int fd : waiting) ::close(fd);
}

void local_connects(record& r) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto name = "thrum_case_" + std::to_string(::getpid()) + "_" + std::to_string(::gettid());
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const int client = ::socket(AF_UNIX, SOCK_STREAM, 0);
  r.call("nobody", [&] { return ::connect(client, generic, size); });
  const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ::bind(server, generic, size);
  ::listen(server, 0);
  r.call("connect", [&] { return ::connect(client, generic, size); });
  // The queue is full by then: the second waits until the first is accepted.
  const int second = ::socket(AF_UNIX, SOCK_STREAM, 0);
  {
    int fd = -1;
    {
      const later accepter([&] { fd = ::accept(server, nullptr, nullptr); });
      r.call("full", [&] { return ::connect(second, generic, size); });
    }
    ::close(fd);
  }
  ::close(client);
  ::close(second);
  ::close(server);
}

}  // namespace

cases socket_cases() {
  return {{"accept_waits", &accept_waits},
          {"accept_fails", &accept_fails},
          {"connects", &connects},
          {"connect_fails", &connect_fails},
          {"connect_takes_too_long", &connect_takes_too_long},
          {"local_connects", &local_connects}};
}

}  // namespace interpose_cases
