// interposed: libc's calls as thrum_interpose has them, beside libc's own. One operation is a call: poll of nothing,
// which is little more than entering the kernel, and recv of a byte that is there (with the send of it); outside of any
// fiber and by one. round_trip: a byte there and back between two, by blocking read and write on socket pairs.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <dlfcn.h>

#include <thread>

#include "thrum_bench.hpp"

namespace {

using poll_function = int(pollfd*, nfds_t, int);
using recv_function = ssize_t(int, void*, std::size_t, int);
using send_function = ssize_t(int, const void*, std::size_t, int);

template <class F>
F* of_libc(const char* name) {
  static void* libc = ::dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  void* found = libc ? ::dlsym(libc, name) : nullptr;
  if (!found) bench::fail("libc's own functions cannot be found.", 1);
  return reinterpret_cast<F*>(found);
}

struct socket_pair {
  int fds[2];
  socket_pair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) bench::fail("No socket pair can be made.", 1);
  }
  ~socket_pair() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
};

void polls(long n, poll_function* poll_nothing) {
  for (long i = 0; i < n; ++i)
    if (poll_nothing(nullptr, 0, 0) != 0) bench::fail("poll found something.", 1);
}

void messages(long n, send_function* send_one, recv_function* recv_one) {
  const socket_pair s;
  char byte = 'x';
  for (long i = 0; i < n; ++i)
    if (send_one(s.fds[0], &byte, 1, 0) != 1 || recv_one(s.fds[1], &byte, 1, 0) != 1)
      bench::fail("A byte was lost.", 1);
}

void answer(int fd, long n) {
  char byte;
  for (long i = 0; i < n; ++i)
    if (::read(fd, &byte, 1) != 1 || ::write(fd, &byte, 1) != 1) bench::fail("A byte was lost.", 1);
}

void ask(int fd, long n) {
  char byte = 'x';
  for (long i = 0; i < n; ++i)
    if (::write(fd, &byte, 1) != 1 || ::read(fd, &byte, 1) != 1) bench::fail("A byte was lost.", 1);
}

void measure_here(const bench::options& o, const std::string& where) {
  const long n = o.scaled(2000000);
  bench::measure(where + "poll", n, [](long k) { polls(k, &::poll); });
  bench::measure(where + "recv", n / 4, [](long k) { messages(k, &::send, &::recv); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  const long n = o.scaled(2000000);
  bench::measure("libc-poll", n, [](long k) { polls(k, of_libc<poll_function>("poll")); });
  bench::measure("libc-recv", n / 4,
                 [](long k) { messages(k, of_libc<send_function>("send"), of_libc<recv_function>("recv")); });
  measure_here(o, "outside-");
  bench::measure("threads-round_trip", n / 20, [](long k) {
    const socket_pair s;
    std::thread other([&] { answer(s.fds[1], k); });
    ask(s.fds[0], k);
    other.join();
  });
  return bench::in_runtime(argc, argv, [](const bench::options& in) {
    measure_here(in, "fiber-");
    bench::measure("fiber-round_trip", in.scaled(100000), [](long k) {
      const socket_pair s;
      auto other = thrum::spawn([&] { answer(s.fds[1], k); });
      ask(s.fds[0], k);
      other.join();
    });
  });
}
