// Many fibers in libc's blocking calls, on few threads.
#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interpose/cases.hpp"
#include "support.hpp"

namespace {

using namespace thrum;
using namespace thrum::test;

class interposed_crowd : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, interposed_crowd, worker_counts, count_name);

using interpose_cases::ends;

std::size_t threads_now() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// As many as there are descriptors for, of which each pair needs two, and one for each wait.
const int crowd = [] {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(under_tsan ? 200 : 2000, limit.rlim_cur / 5));
}();

std::deque<ends> connected_pairs(ends (*make)(), int n) {
  std::deque<ends> all;
  for (int i = 0; i < n; ++i) {
    const ends& one = all.emplace_back(make());
    EXPECT_GE(one.a, 0);
  }
  return all;
}

// So many more threads than before: the one that the monitor keeps ready, and the runtime's that are about to end.
constexpr std::size_t threads_besides = 3;

TEST_P(interposed_crowd, waits_in_recv_without_threads_of_its_own) {
  run([&] {
    const auto threads = threads_now();
    auto pairs = connected_pairs([] { return ends::sockets(); }, crowd);
    std::vector<fiber> echoes;
    for (auto& p : pairs)
      echoes.push_back(spawn([&p] {
        int number = 0;
        EXPECT_EQ(::recv(p.b, &number, sizeof number, 0), 4);
        EXPECT_EQ(::read(p.b, &number, sizeof number), 4);
        EXPECT_EQ(::write(p.b, &number, sizeof number), 4);
      }));
    for (int round = 0; round < 2; ++round) {
      until_the_others_wait();
      EXPECT_LE(threads_now(), threads + threads_besides);
      for (int i = 0; i < crowd; ++i) EXPECT_EQ(::send(pairs[static_cast<std::size_t>(i)].a, &i, sizeof i, 0), 4);
    }
    for (int i = 0; i < crowd; ++i) {
      int back = -1;
      EXPECT_EQ(::recv(pairs[static_cast<std::size_t>(i)].a, &back, sizeof back, 0), 4);
      EXPECT_EQ(back, i);
    }
    for (auto& f : echoes) f.join();
    EXPECT_LE(threads_now(), threads + threads_besides);
  });
}

// A number goes through all pipes, one fiber for each.
TEST_P(interposed_crowd, passes_a_number_through_pipes) {
  run([&] {
    const auto threads = threads_now();
    auto pipes = connected_pairs([] { return ends::pipe(); }, crowd);
    std::vector<fiber> links;
    for (std::size_t i = 0; i + 1 < pipes.size(); ++i)
      links.push_back(spawn([&, i] {
        int number = 0;
        EXPECT_EQ(::read(pipes[i].a, &number, sizeof number), 4);
        ++number;
        EXPECT_EQ(::write(pipes[i + 1].b, &number, sizeof number), 4);
      }));
    until_the_others_wait();
    EXPECT_LE(threads_now(), threads + threads_besides);
    int number = 0;
    EXPECT_EQ(::write(pipes.front().b, &number, sizeof number), 4);
    EXPECT_EQ(::read(pipes.back().a, &number, sizeof number), 4);
    EXPECT_EQ(number, crowd - 1);
    for (auto& f : links) f.join();
  });
}

TEST_P(interposed_crowd, polls_two_each) {
  run([&] {
    auto pairs = connected_pairs([] { return ends::sockets(); }, crowd / 4);
    const auto stop = ends::pipe();
    std::atomic<int> served{0}, told{0};
    std::vector<fiber> waiting;
    for (auto& p : pairs)
      waiting.push_back(spawn([&] {
        pollfd both[] = {{.fd = p.a, .events = POLLIN, .revents = 0}, {.fd = stop.a, .events = POLLIN, .revents = 0}};
        EXPECT_EQ(::poll(both, 2, -1), 1);
        EXPECT_EQ(both[0].revents, POLLIN);
        char byte;
        EXPECT_EQ(::read(p.a, &byte, 1), 1);
        ++served;
        EXPECT_EQ(::poll(both, 2, -1), 1);
        EXPECT_EQ(both[1].revents, POLLIN);
        ++told;
      }));
    until_the_others_wait();
    for (auto& p : pairs) EXPECT_EQ(::write(p.b, "x", 1), 1);
    EXPECT_TRUE(eventually([&] { return served == crowd / 4; }));
    EXPECT_EQ(told, 0);
    EXPECT_EQ(::write(stop.b, "x", 1), 1);
    for (auto& f : waiting) f.join();
    EXPECT_EQ(told, crowd / 4);
  });
}

// Connections for whoever comes: many fibers accept from one listener, and no thread of theirs blocks.
TEST_P(interposed_crowd, accepts_from_one_listener) {
  run([&] {
    constexpr int acceptors = 16;
    constexpr int connections = 160;
    const auto threads = threads_now();
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener, generic, size), 0);
    EXPECT_EQ(::getsockname(listener, generic, &size), 0);
    EXPECT_EQ(::listen(listener, connections), 0);
    std::atomic<int> accepted{0};
    std::vector<fiber> all;
    for (int i = 0; i < acceptors; ++i)
      all.push_back(spawn([&] {
        for (int n = 0; n < connections / acceptors; ++n) {
          const int fd = ::accept(listener, nullptr, nullptr);
          EXPECT_GE(fd, 0);
          EXPECT_EQ(::close(fd), 0);
          ++accepted;
        }
      }));
    until_the_others_wait();
    EXPECT_LE(threads_now(), threads + threads_besides);
    // By a plain thread, so that the pool has no part in it.
    std::thread([&] {
      for (int i = 0; i < connections; ++i) {
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        EXPECT_EQ(::connect(fd, generic, size), 0);
        EXPECT_EQ(::close(fd), 0);
      }
    }).join();
    for (auto& f : all) f.join();
    EXPECT_EQ(accepted, connections);
    EXPECT_EQ(::close(listener), 0);
  });
}

// ---------------------------------------------------------------------------------------------------------------
// What is not interposed blocks the thread: the monitor hands its processor over, and the others go on.

TEST_P(interposed_crowd, goes_on_while_some_hold_and_want_locks_of_threads) {
  run([&] {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
    sem_t posted;
    ::sem_init(&posted, 0, 0);
    bool set = false;
    std::vector<fiber> waiting;
    for (int i = 0; i < 3; ++i) {
      waiting.push_back(spawn([&] {
        ::pthread_mutex_lock(&mutex);
        while (!set) ::pthread_cond_wait(&changed, &mutex);
        ::pthread_mutex_unlock(&mutex);
      }));
      waiting.push_back(spawn([&] { EXPECT_EQ(::sem_wait(&posted), 0); }));
    }
    this_fiber::sleep_for(a_moment);
    ::pthread_mutex_lock(&mutex);
    set = true;
    ::pthread_cond_broadcast(&changed);
    ::pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 3; ++i) ::sem_post(&posted);
    for (auto& f : waiting) f.join();
    ::sem_destroy(&posted);
  });
}

}  // namespace
