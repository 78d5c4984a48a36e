// Many fibers in libc's blocking calls, on few threads; what closing, duplicating and sharing a descriptor does.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.hpp"

namespace {

using namespace thrum;
using namespace thrum::test;

class interposed_crowd : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, interposed_crowd, worker_counts, count_name);

struct pair {
  int a = -1, b = -1;
  explicit pair(int type = SOCK_STREAM) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, type, 0, fds), 0);
    a = fds[0];
    b = fds[1];
  }
  pair(pair&& other) noexcept : a(std::exchange(other.a, -1)), b(std::exchange(other.b, -1)) {}
  ~pair() {
    if (a >= 0) ::close(a);
    if (b >= 0) ::close(b);
  }
};

struct pipe_ends {
  int in = -1, out = -1;  // To read from, to write to.
  pipe_ends() {
    int fds[2];
    EXPECT_EQ(::pipe(fds), 0);
    in = fds[0];
    out = fds[1];
  }
  ~pipe_ends() {
    ::close(in);
    ::close(out);
  }
};

std::size_t threads_now() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

constexpr int crowd = under_tsan ? 200 : 2000;

TEST_P(interposed_crowd, waits_in_recv_without_threads_of_its_own) {
  run([&] {
    const auto threads = threads_now();
    std::vector<pair> pairs;
    for (int i = 0; i < crowd; ++i) pairs.emplace_back();
    std::vector<fiber> echoes;
    for (auto& p : pairs)
      echoes.push_back(spawn([&p] {
        int number = 0;
        EXPECT_EQ(::recv(p.b, &number, sizeof number, 0), static_cast<ssize_t>(sizeof number));
        EXPECT_EQ(::read(p.b, &number, sizeof number), static_cast<ssize_t>(sizeof number));
        EXPECT_EQ(::write(p.b, &number, sizeof number), static_cast<ssize_t>(sizeof number));
      }));
    until_the_others_wait();
    EXPECT_LE(threads_now(), threads + 2);  // One that the monitor keeps ready, and one for what a test may add.
    for (int i = 0; i < crowd; ++i) EXPECT_EQ(::send(pairs[static_cast<std::size_t>(i)].a, &i, sizeof i, 0), 4);
    until_the_others_wait();
    for (int i = 0; i < crowd; ++i) EXPECT_EQ(::send(pairs[static_cast<std::size_t>(i)].a, &i, sizeof i, 0), 4);
    for (int i = 0; i < crowd; ++i) {
      int back = -1;
      EXPECT_EQ(::recv(pairs[static_cast<std::size_t>(i)].a, &back, sizeof back, 0), 4);
      EXPECT_EQ(back, i);
    }
    for (auto& f : echoes) f.join();
    EXPECT_LE(threads_now(), threads + 2);
  });
}

}  // namespace
