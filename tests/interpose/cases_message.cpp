// recv, send and their relatives.
#include <cstring>

#include <netinet/in.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "cases.hpp"

namespace interpose_cases {
namespace {

std::string_view seen(const char* data, ssize_t n) { return {data, n > 0 ? static_cast<std::size_t>(n) : 0}; }

void recv_waits(record& r) {
  auto e = ends::sockets();
  char data[16];
  const later writer([&] { (void)!::send(e.b, "hello", 5, 0); });
  r.note("peeked", seen(data, r.call("recv", [&] { return ::recv(e.a, data, sizeof data, MSG_PEEK); })));
  r.note("data", seen(data, r.call("recv", [&] { return ::recv(e.a, data, 2, 0); })));
  r.note("data", seen(data, r.call("recv", [&] { return ::recv(e.a, data, sizeof data, 0); })));
  r.call("nothing", [&] { return ::recv(e.a, data, sizeof data, MSG_DONTWAIT); });
}

void recv_waits_for_all(record& r) {
  auto e = ends::sockets();
  char data[16];
  {
    const later writer([&] {
      (void)!::send(e.b, "abc", 3, 0);
      std::this_thread::sleep_for(3ms);
      (void)!::send(e.b, "defgh", 5, 0);
    });
    r.note("data", seen(data, r.call("recv", [&] { return ::recv(e.a, data, 8, MSG_WAITALL); })));
  }
  {
    const later writer([&] {
      (void)!::send(e.b, "ij", 2, 0);
      std::this_thread::sleep_for(3ms);
      e.close_b();
    });
    char first[1], second[7];
    iovec v[] = {{first, sizeof first}, {second, sizeof second}};
    msghdr m{};
    m.msg_iov = v;
    m.msg_iovlen = 2;
    r.call("cut short", [&] { return ::recvmsg(e.a, &m, MSG_WAITALL); });
    r.note("data", std::string{first[0], second[0]});
  }
}

void whole_look(record& r) {
  auto e = ends::sockets();
  char data[16];
  (void)!::send(e.b, "abcd", 4, 0);
  r.note("data", seen(data, r.call("recv", [&] { return ::recv(e.a, data, 4, MSG_PEEK | MSG_WAITALL); })));
  r.call("recv", [&] { return ::recv(e.a, data, sizeof data, 0); });
}

void datagrams(record& r) {
  auto e = ends::sockets(SOCK_DGRAM);
  char data[4];
  const later writer([&] {
    (void)!::send(e.b, "one too long", 12, 0);
    (void)!::send(e.b, "", 0, 0);
    (void)!::send(e.b, "two", 3, 0);
  });
  r.note("data", seen(data, std::min<ssize_t>(4, r.call("recv", [&] { return ::recv(e.a, data, 4, MSG_TRUNC); }))));
  r.call("empty", [&] { return ::recv(e.a, data, 4, 0); });
  r.note("data", seen(data, r.call("read", [&] { return ::read(e.a, data, 4); })));
}

// A queue of datagrams that is full: the sender waits.
void datagrams_wait_for_room(record& r) {
  auto e = ends::sockets(SOCK_DGRAM);
  int fit = 0;
  while (::send(e.a, "x", 1, MSG_DONTWAIT) == 1) ++fit;
  r.call("full", [&] { return ::send(e.a, "x", 1, MSG_DONTWAIT); });
  const later reader([&] {
    char data[4];
    for (int i = 0; i < fit; ++i) (void)!::recv(e.b, data, sizeof data, 0);
  });
  r.call("send", [&] { return ::send(e.a, "yz", 2, 0); });
}

sockaddr_in loopback() {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

void datagrams_have_addresses(record& r) {
  const int one = ::socket(AF_INET, SOCK_DGRAM, 0);
  const int two = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in a = loopback(), b = loopback();
  ::bind(one, reinterpret_cast<sockaddr*>(&a), sizeof a);
  ::bind(two, reinterpret_cast<sockaddr*>(&b), sizeof b);
  socklen_t size = sizeof a;
  ::getsockname(one, reinterpret_cast<sockaddr*>(&a), &size);
  ::getsockname(two, reinterpret_cast<sockaddr*>(&b), &size);
  char data[16];
  sockaddr_in from{};
  {
    const later sender([&] { (void)!::sendto(two, "hi", 2, 0, reinterpret_cast<sockaddr*>(&a), sizeof a); });
    size = sizeof from + 10;
    r.call("recvfrom",
           [&] { return ::recvfrom(one, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &size); });
  }
  r.note("size", size);
  r.note("from two", from.sin_port == b.sin_port);
  r.call("sendto", [&] { return ::sendto(one, "back", 4, 0, reinterpret_cast<sockaddr*>(&b), sizeof b); });
  r.note("data", seen(data, r.call("recv", [&] { return ::recv(two, data, sizeof data, 0); })));
  r.call("no address", [&] { return ::send(one, "x", 1, 0); });
  ::close(one);
  ::close(two);
}

void descriptors_travel(record& r) {
  auto e = ends::sockets();
  auto inner = ends::pipe();
  const auto control_size = CMSG_SPACE(sizeof(int));
  alignas(cmsghdr) char control[64] = {};
  char byte = 'x';
  iovec v{&byte, 1};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = control_size;
  const later sender([&] {
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &inner.a, sizeof(int));
    (void)!::sendmsg(e.b, &m, 0);
  });
  alignas(cmsghdr) char received[64] = {};
  char into = 0;
  iovec w{&into, 1};
  msghdr got{};
  got.msg_iov = &w;
  got.msg_iovlen = 1;
  got.msg_control = received;
  got.msg_controllen = sizeof received;
  r.call("recvmsg", [&] { return ::recvmsg(e.a, &got, 0); });
  int fd = -1;
  if (const cmsghdr* c = CMSG_FIRSTHDR(&got)) std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  r.note("came", fd >= 0);
  const later writer([&] { (void)!::write(inner.b, "through", 7); });
  char data[16];
  r.note("data", seen(data, r.call("read", [&] { return ::read(fd, data, sizeof data); })));
  ::close(fd);
}

void long_messages(record& r) {
  auto e = ends::sockets();
  std::vector<char> first(300'001, 'a'), second(300'002, 'b');
  std::string got;
  {
    const later reader([&] {
      char data[30'000];
      for (ssize_t n; (n = ::recv(e.a, data, sizeof data, 0)) > 0;) got.append(data, static_cast<std::size_t>(n));
    });
    iovec v[] = {{first.data(), first.size()}, {second.data(), second.size()}};
    msghdr m{};
    m.msg_iov = v;
    m.msg_iovlen = 2;
    r.call("sendmsg", [&] { return ::sendmsg(e.b, &m, 0); });
    r.call("send", [&] { return ::send(e.b, first.data(), first.size(), 0); });
    e.close_b();
  }
  r.note("same", got == std::string(300'001, 'a') + std::string(300'002, 'b') + std::string(300'001, 'a'));
}

void several_messages(record& r) {
  auto e = ends::sockets(SOCK_DGRAM);
  char data[4][4] = {};
  iovec v[4];
  mmsghdr all[4] = {};
  for (int i = 0; i < 4; ++i) {
    v[i] = {data[i], sizeof data[i]};
    all[i].msg_hdr.msg_iov = &v[i];
    all[i].msg_hdr.msg_iovlen = 1;
  }
  {
    const later sender([&] {
      (void)!::send(e.b, "a", 1, 0);
      std::this_thread::sleep_for(2ms);
      (void)!::send(e.b, "bb", 2, 0);
      (void)!::send(e.b, "ccc", 3, 0);
    });
    r.call("three", [&] { return ::recvmmsg(e.a, all, 3, 0, nullptr); });
  }
  for (const auto& one : all) r.note("length", one.msg_len);
  {
    const later sender([&] { (void)!::send(e.b, "d", 1, 0); });
    r.call("one", [&] { return ::recvmmsg(e.a, all, 4, MSG_WAITFORONE, nullptr); });
  }
  r.call("sendmmsg", [&] { return ::sendmmsg(e.a, all, 3, 0); });
  r.call("recv", [&] { return ::recv(e.b, data[0], 4, 0); });
  r.call("none", [&] { return ::recvmmsg(e.a, all, 4, MSG_DONTWAIT, nullptr); });
  timespec wrong{.tv_sec = -1, .tv_nsec = 0};
  r.call("wrong time", [&] { return ::recvmmsg(e.a, all, 4, 0, &wrong); });
}

void time_is_over(record& r) {
  auto e = ends::sockets();
  char data[16];
  const timeval t{.tv_sec = 0, .tv_usec = 30'000};
  ::setsockopt(e.a, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  r.call_for(30ms, "recv", [&] { return ::recv(e.a, data, sizeof data, 0); });
  (void)!::send(e.b, "abc", 3, 0);
  r.call_for(30ms, "all", [&] { return ::recv(e.a, data, 8, MSG_WAITALL); });
}

void errors(record& r) {
  char data[4];
  auto e = ends::pipe();
  r.call("no socket", [&] { return ::recv(e.a, data, sizeof data, 0); });
  r.call("no socket", [&] { return ::send(e.b, data, sizeof data, 0); });
  r.call("bad", [&] { return ::recv(-1, data, sizeof data, 0); });
  const int fresh = ::socket(AF_INET, SOCK_STREAM, 0);
  r.call("not connected", [&] { return ::recv(fresh, data, sizeof data, 0); });
  r.call("not connected", [&] { return ::send(fresh, data, sizeof data, MSG_NOSIGNAL); });
  ::close(fresh);
  auto s = ends::sockets();
  s.close_b();
  r.call("broken", [&] { return ::send(s.a, data, sizeof data, MSG_NOSIGNAL); });
  auto t = ends::sockets();
  const int datagrams = ::socket(AF_INET, SOCK_DGRAM, 0);
  r.call("no errors", [&] { return ::recv(datagrams, data, sizeof data, MSG_ERRQUEUE); });
  ::close(datagrams);
  r.call("shut", [&] { return ::shutdown(t.a, SHUT_RD); });
  r.call("shut", [&] { return ::recv(t.a, data, sizeof data, 0); });
}

void shut_down_while_waiting(record& r) {
  auto e = ends::sockets();
  char data[4];
  const later shutter([&] { ::shutdown(e.a, SHUT_RDWR); });
  r.call("recv", [&] { return ::recv(e.a, data, sizeof data, 0); });
}

}  // namespace

cases message_cases() {
  return {{"recv_waits", &recv_waits},
          {"recv_waits_for_all", &recv_waits_for_all},
          {"whole_look", &whole_look},
          {"datagrams", &datagrams},
          {"datagrams_wait_for_room", &datagrams_wait_for_room},
          {"datagrams_have_addresses", &datagrams_have_addresses},
          {"descriptors_travel", &descriptors_travel},
          {"long_messages", &long_messages},
          {"several_messages", &several_messages},
          {"messages_time_is_over", &time_is_over},
          {"message_errors", &errors},
          {"shut_down_while_waiting", &shut_down_while_waiting}};
}

}  // namespace interpose_cases
