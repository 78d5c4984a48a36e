// read, write, readv, writev, on sockets, pipes and what else has a descriptor.
#include <array>
#include <cstdint>
#include <cstring>

#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include "cases.hpp"

namespace interpose_cases {
namespace {

std::string_view seen(const char* data, ssize_t n) { return {data, n > 0 ? static_cast<std::size_t>(n) : 0}; }

void read_waits(record& r, ends& e) {
  char data[16];
  const later writer([&] { (void)!::write(e.b, "hello", 5); });
  r.note("data", seen(data, r.call("read", [&] { return ::read(e.a, data, sizeof data); })));
}

void read_at_the_end(record& r, ends& e) {
  char data[16];
  (void)!::write(e.b, "x", 1);
  e.close_b();
  r.call("read", [&] { return ::read(e.a, data, sizeof data); });
  r.call("again", [&] { return ::read(e.a, data, sizeof data); });
}

void the_end_comes_later(record& r, ends& e) {
  char data[16];
  const later closer([&] { e.close_b(); });
  r.call("read", [&] { return ::read(e.a, data, sizeof data); });
}

void not_blocking(record& r, ends& e) {
  char data[16];
  r.call("set", [&] { return ::fcntl(e.a, F_SETFL, ::fcntl(e.a, F_GETFL) | O_NONBLOCK); });
  r.call("read", [&] { return ::read(e.a, data, sizeof data); });
  (void)!::write(e.b, "x", 1);
  r.call("read", [&] { return ::read(e.a, data, sizeof data); });
}

void mode_is_kept(record& r, ends& e) {
  char data[16];
  const int before = ::fcntl(e.a, F_GETFL);
  int during = 0;
  {
    const later writer([&] {
      during = ::fcntl(e.a, F_GETFL);
      (void)!::write(e.b, "x", 1);
    });
    r.call("read", [&] { return ::read(e.a, data, sizeof data); });
  }
  r.note("during", during == before);
  r.note("after", ::fcntl(e.a, F_GETFL) == before);
}

// More than fits: the writer has to wait for the reader several times, and writes everything.
void writes_everything(record& r, ends& e) {
  std::vector<char> much(1'000'003);
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 7);
  std::vector<char> got;
  {
    const later reader([&] {
      char data[30'000];
      for (ssize_t n; (n = ::read(e.a, data, sizeof data)) > 0;) got.insert(got.end(), data, data + n);
    });
    r.call("write", [&] { return ::write(e.b, much.data(), much.size()); });
    e.close_b();
  }
  r.note("same", got == much);
}

void writes_vectors(record& r, ends& e) {
  std::vector<char> first(300'001, 'a');
  std::vector<char> third(200'003, 'c');
  std::string got;
  {
    const later reader([&] {
      char data[30'000];
      for (ssize_t n; (n = ::read(e.a, data, sizeof data)) > 0;) got.append(data, static_cast<std::size_t>(n));
    });
    const iovec v[] = {{nullptr, 0}, {first.data(), first.size()}, {nullptr, 0}, {third.data(), third.size()}};
    r.call("writev", [&] { return ::writev(e.b, v, 4); });
    e.close_b();
  }
  r.note("same", got == std::string(300'001, 'a') + std::string(200'003, 'c'));
}

void reads_vectors(record& r, ends& e) {
  char first[3], second[8];
  const iovec v[] = {{first, sizeof first}, {second, sizeof second}};
  const later writer([&] { (void)!::write(e.b, "abcdefg", 7); });
  const auto n = r.call("readv", [&] { return ::readv(e.a, v, 2); });
  r.note("first", seen(first, 3));
  r.note("second", seen(second, n - 3));
}

// The peer takes some and leaves: what was written counts.
void the_reader_leaves(record& r, ends& e) {
  std::vector<char> much(4'000'000);
  const later leaver([&] { e.close_a(); });
  r.call("wrote some", [&] { return ::write(e.b, much.data(), much.size()) > 0; });
}

void broken(record& r, ends& e) {
  e.close_a();
  r.call("write", [&] { return ::write(e.b, "x", 1); });
}

void time_is_over(record& r) {
  auto e = ends::sockets();
  char data[16];
  const timeval t{.tv_sec = 0, .tv_usec = 30'000};
  ::setsockopt(e.a, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  ::setsockopt(e.a, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
  r.call_for(30ms, "read", [&] { return ::read(e.a, data, sizeof data); });
  std::vector<char> much(4'000'000);
  const auto n = ::write(e.a, much.data(), much.size());
  r.note("some", n > 0 && n < static_cast<ssize_t>(much.size()));
  r.call_for(30ms, "write", [&] { return ::write(e.a, much.data(), much.size()); });
}

void bad_descriptors(record& r) {
  char data[4] = {};
  for (const int fd : {-1, 1'000'000'000}) {
    r.call("read", [&] { return ::read(fd, data, sizeof data); });
    r.call("write", [&] { return ::write(fd, data, sizeof data); });
  }
  const int directory = ::open("/", O_RDONLY | O_DIRECTORY);
  r.call("directory", [&] { return ::read(directory, data, sizeof data); });
  r.call("reading only", [&] { return ::write(directory, data, sizeof data); });
  ::close(directory);
  auto e = ends::pipe();
  r.call("wrong end", [&] { return ::read(e.b, data, sizeof data); });
  r.call("wrong end", [&] { return ::write(e.a, data, sizeof data); });
}

void bad_arguments(record& r) {
  auto e = ends::sockets();
  iovec v{};
  r.call("none", [&] { return ::readv(e.a, &v, 0); });
  r.call("empty", [&] { return ::readv(e.a, &v, 1); });
  r.call("empty", [&] { return ::writev(e.a, &v, 1); });
  volatile int count = -1;  // Compilers warn of what they can see.
  r.call("negative", [&] { return ::readv(e.a, &v, count); });
  count = 2000;
  r.call("too many", [&] { return ::writev(e.a, &v, count); });
  r.call("nothing", [&] { return ::read(e.a, nullptr, 0); });
  r.call("nothing", [&] { return ::write(e.a, nullptr, 0); });
}

void regular_file(record& r) {
  char name[] = "/tmp/thrum_case_XXXXXX";
  const int fd = ::mkstemp(name);
  ::unlink(name);
  char data[16];
  r.call("write", [&] { return ::write(fd, "some text", 9); });
  r.call("end", [&] { return ::read(fd, data, sizeof data); });
  ::lseek(fd, 5, SEEK_SET);
  r.note("data", seen(data, r.call("read", [&] { return ::read(fd, data, sizeof data); })));
  ::close(fd);
  const int zero = ::open("/dev/zero", O_RDWR);
  r.call("zero", [&] { return ::read(zero, data, sizeof data); });
  r.call("zero", [&] { return ::write(zero, data, sizeof data); });
  ::close(zero);
}

void counters(record& r) {
  const int counter = ::eventfd(0, 0);
  std::uint64_t n = 0;
  {
    const later adder([&] {
      const std::uint64_t seven = 7;
      (void)!::write(counter, &seven, sizeof seven);
    });
    r.call("read", [&] { return ::read(counter, &n, sizeof n); });
  }
  r.note("value", n);
  n = UINT64_MAX - 1;  // Full: the next one waits.
  r.call("fill", [&] { return ::write(counter, &n, sizeof n); });
  {
    const later reader([&] {
      std::uint64_t all;
      (void)!::read(counter, &all, sizeof all);
    });
    n = 3;
    r.call("add", [&] { return ::write(counter, &n, sizeof n); });
  }
  r.call("read", [&] { return ::read(counter, &n, sizeof n); });
  r.note("value", n);
  ::close(counter);

  const int clock = ::timerfd_create(CLOCK_MONOTONIC, 0);
  const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 5'000'000}};
  ::timerfd_settime(clock, 0, &soon, nullptr);
  r.call("timer", [&] { return ::read(clock, &n, sizeof n); });
  r.note("value", n);
  ::close(clock);
}

template <void (*f)(record&, ends&)>
void on_sockets(record& r) {
  auto e = ends::sockets();
  f(r, e);
}
template <void (*f)(record&, ends&)>
void on_pipe(record& r) {
  auto e = ends::pipe();
  f(r, e);
}

}  // namespace

cases transfer_cases() {
  return {{"read_waits_on_socket", &on_sockets<read_waits>},
          {"read_waits_on_pipe", &on_pipe<read_waits>},
          {"read_at_the_end_of_socket", &on_sockets<read_at_the_end>},
          {"read_at_the_end_of_pipe", &on_pipe<read_at_the_end>},
          {"the_end_comes_later_on_socket", &on_sockets<the_end_comes_later>},
          {"the_end_comes_later_on_pipe", &on_pipe<the_end_comes_later>},
          {"not_blocking_socket", &on_sockets<not_blocking>},
          {"not_blocking_pipe", &on_pipe<not_blocking>},
          {"mode_is_kept_of_socket", &on_sockets<mode_is_kept>},
          {"mode_is_kept_of_pipe", &on_pipe<mode_is_kept>},
          {"writes_everything_to_socket", &on_sockets<writes_everything>},
          {"writes_everything_to_pipe", &on_pipe<writes_everything>},
          {"writes_vectors_to_socket", &on_sockets<writes_vectors>},
          {"writes_vectors_to_pipe", &on_pipe<writes_vectors>},
          {"reads_vectors_from_socket", &on_sockets<reads_vectors>},
          {"reads_vectors_from_pipe", &on_pipe<reads_vectors>},
          {"the_reader_leaves_a_socket", &on_sockets<the_reader_leaves>},
          {"the_reader_leaves_a_pipe", &on_pipe<the_reader_leaves>},
          {"broken_socket", &on_sockets<broken>},
          {"broken_pipe", &on_pipe<broken>},
          {"time_is_over", &time_is_over},
          {"bad_descriptors", &bad_descriptors},
          {"bad_arguments", &bad_arguments},
          {"regular_file", &regular_file},
          {"counters", &counters}};
}

}  // namespace interpose_cases
