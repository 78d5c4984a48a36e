// poll, select, epoll_wait and their relatives.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include "cases.hpp"

namespace interpose_cases {
namespace {

void note_events(record& r, const std::vector<pollfd>& all) {
  for (const auto& one : all) r.note("events", one.revents);
}

void poll_waits(record& r) {
  auto e = ends::sockets();
  std::vector<pollfd> one{{.fd = e.a, .events = POLLIN, .revents = -1}};
  r.call_for(20ms, "poll", [&] { return ::poll(one.data(), 1, 20); });
  note_events(r, one);
  {
    const later writer([&] { (void)!::write(e.b, "x", 1); });
    r.call("poll", [&] { return ::poll(one.data(), 1, -1); });
  }
  note_events(r, one);
  char byte;
  (void)!::read(e.a, &byte, 1);
  one[0].events = POLLIN | POLLPRI | POLLRDHUP;
  {
    const later closer([&] { e.close_b(); });
    r.call("poll", [&] { return ::poll(one.data(), 1, 10'000); });
  }
  note_events(r, one);
}

void poll_waits_for_several(record& r) {
  auto e = ends::sockets();
  auto p = ends::pipe();
  const int counter = ::eventfd(0, 0);
  std::vector<pollfd> all{{.fd = -1, .events = POLLIN, .revents = -1},
                          {.fd = e.a, .events = POLLIN, .revents = -1},
                          {.fd = p.a, .events = POLLIN, .revents = -1},
                          {.fd = counter, .events = POLLIN, .revents = -1}};
  r.call_for(15ms, "poll", [&] { return ::poll(all.data(), all.size(), 15); });
  for (int i = 0; i < 3; ++i) {
    const later writer([&] { (void)!::write(i == 1 ? p.b : e.b, "x", 1); });
    r.call("poll", [&] { return ::poll(all.data(), all.size(), 10'000); });
    note_events(r, all);
    char byte;
    (void)!::read(i == 1 ? p.a : e.a, &byte, 1);
  }
  {
    const later closer([&] { p.close_b(); });
    const timespec time{.tv_sec = 10, .tv_nsec = 0};
    r.call("hung up", [&] { return ::ppoll(all.data(), all.size(), &time, nullptr); });
  }
  note_events(r, all);
  ::close(counter);
}

// The same descriptor, both ways and twice.
void poll_of_one_descriptor_twice(record& r) {
  auto e = ends::sockets();
  while (::send(e.a, "0123456789", 10, MSG_DONTWAIT) > 0) {
  }
  std::vector<pollfd> all{{.fd = e.a, .events = POLLIN, .revents = -1}, {.fd = e.a, .events = POLLOUT, .revents = -1}};
  r.call("nothing", [&] { return ::poll(all.data(), 2, 5); });
  {
    const later writer([&] { (void)!::write(e.b, "x", 1); });
    r.call("in", [&] { return ::poll(all.data(), 2, -1); });
  }
  note_events(r, all);
  std::vector<pollfd> both{{.fd = e.a, .events = POLLOUT | POLLPRI, .revents = -1}};
  {
    const later reader([&] {
      char data[1000];
      while (::recv(e.b, data, sizeof data, MSG_DONTWAIT) > 0) {
      }
    });
    r.call("out", [&] { return ::poll(both.data(), 1, -1); });
  }
  note_events(r, both);
}

void poll_of_strange_things(record& r) {
  std::vector<pollfd> all{{.fd = 1'000'000, .events = POLLIN, .revents = -1}};
  r.call("bad", [&] { return ::poll(all.data(), 1, -1); });
  note_events(r, all);
  all[0].fd = -1;
  r.call_for(10ms, "none", [&] { return ::poll(all.data(), 1, 10); });
  note_events(r, all);
  r.call_for(10ms, "none at all", [&] { return ::poll(nullptr, 0, 10); });
  const int file = ::open("/proc/self/exe", O_RDONLY);
  all[0].fd = file;
  r.call("file", [&] { return ::poll(all.data(), 1, -1); });
  note_events(r, all);
  ::close(file);
  auto e = ends::sockets();
  all[0] = {.fd = e.a, .events = 0, .revents = -1};
  {
    const later closer([&] { e.close_b(); });
    r.call("only the end", [&] { return ::poll(all.data(), 1, -1); });
  }
  note_events(r, all);
  const timespec wrong{.tv_sec = 0, .tv_nsec = -1};
  r.call("wrong time", [&] { return ::ppoll(all.data(), 1, &wrong, nullptr); });
  const timespec none{};
  r.call("no time", [&] { return ::ppoll(all.data(), 0, &none, nullptr); });
}

void select_waits(record& r) {
  auto e = ends::sockets();
  auto p = ends::pipe();
  fd_set in, out, odd;
  const auto ask = [&] {
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&odd);
    FD_SET(e.a, &in);
    FD_SET(p.a, &in);
    FD_SET(e.a, &odd);
  };
  const auto tell = [&] {
    r.note("e", FD_ISSET(e.a, &in) != 0);
    r.note("p", FD_ISSET(p.a, &in) != 0);
    r.note("odd", FD_ISSET(e.a, &odd) != 0);
  };
  const int n = std::max(e.a, p.a) + 1;
  ask();
  timeval time{.tv_sec = 0, .tv_usec = 15'000};
  r.call_for(15ms, "nothing", [&] { return ::select(n, &in, nullptr, &odd, &time); });
  r.note("left", time.tv_sec * 1'000'000 + time.tv_usec);
  tell();
  for (int i = 0; i < 2; ++i) {
    ask();
    time = {.tv_sec = 100, .tv_usec = 0};
    const later writer([&] { (void)!::write(i == 0 ? p.b : e.b, "x", 1); });
    r.call("in", [&] { return ::select(n, &in, nullptr, &odd, &time); });
    r.note("left", time.tv_sec > 50 && time.tv_sec < 100);
    tell();
    char byte;
    (void)!::read(i == 0 ? p.a : e.a, &byte, 1);
  }
  ask();
  FD_SET(e.b, &out);
  r.call("out", [&] { return ::select(std::max(n, e.b + 1), &in, &out, nullptr, nullptr); });
  r.note("out", FD_ISSET(e.b, &out) != 0);
  tell();
  const int closed = closed_number(800);
  FD_SET(closed, &in);
  r.call("bad", [&] { return ::select(closed + 1, &in, nullptr, nullptr, nullptr); });
  r.call("negative", [&] { return ::select(-1, nullptr, nullptr, nullptr, nullptr); });
  time = {.tv_sec = -1, .tv_usec = 0};
  r.call("wrong time", [&] { return ::select(0, nullptr, nullptr, nullptr, &time); });
}

// Only time passes.
void select_sleeps(record& r) {
  auto e = ends::sockets();
  fd_set in;
  FD_ZERO(&in);
  FD_SET(e.a, &in);
  const timespec shortly{.tv_sec = 0, .tv_nsec = 10'000'000};
  r.call_for(10ms, "pselect", [&] { return ::pselect(e.a + 1, &in, nullptr, nullptr, &shortly, nullptr); });
  timeval time{.tv_sec = 0, .tv_usec = 10'000};
  r.call_for(10ms, "sleep", [&] { return ::select(0, nullptr, nullptr, nullptr, &time); });
}

void epoll_waits(record& r) {
  auto e = ends::sockets();
  const int many = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event told{.events = EPOLLIN, .data = {.u64 = 77}};
  ::epoll_ctl(many, EPOLL_CTL_ADD, e.a, &told);
  epoll_event events[4] = {};
  r.call_for(15ms, "nothing", [&] { return ::epoll_wait(many, events, 4, 15); });
  {
    const later writer([&] { (void)!::write(e.b, "x", 1); });
    r.call("in", [&] { return ::epoll_wait(many, events, 4, -1); });
  }
  r.note("events", static_cast<unsigned>(events[0].events));
  r.note("data", static_cast<std::uint64_t>(events[0].data.u64));
  r.call("still", [&] { return ::epoll_pwait(many, events, 4, 10'000, nullptr); });
  char byte;
  (void)!::read(e.a, &byte, 1);
  {
    const later closer([&] { e.close_b(); });
    r.call("end", [&] { return ::epoll_pwait(many, events, 4, 10'000, nullptr); });
  }
  r.note("events", static_cast<unsigned>(events[0].events));
  r.call("no room", [&] { return ::epoll_wait(many, events, 0, -1); });
  r.call("no epoll", [&] { return ::epoll_wait(e.a, events, 4, -1); });
  r.call("bad", [&] { return ::epoll_wait(-1, events, 4, -1); });
  ::close(many);
}

}  // namespace

cases poll_cases() {
  return {{"poll_waits", &poll_waits},
          {"poll_waits_for_several", &poll_waits_for_several},
          {"poll_of_one_descriptor_twice", &poll_of_one_descriptor_twice},
          {"poll_of_strange_things", &poll_of_strange_things},
          {"select_waits", &select_waits},
          {"select_sleeps", &select_sleeps},
          {"epoll_waits", &epoll_waits}};
}

}  // namespace interpose_cases
