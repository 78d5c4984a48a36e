// The pollers of all engines, and the watches of their descriptors. In a runtime: that of THRUM_IO_ENGINE.
#include "io/engine.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <thrum/thrum.hpp>

#include "io/epoll_poller.hpp"
#include "io/uring_poller.hpp"
#include "os/clock.hpp"
#include "sched/fd_watch.hpp"

namespace thrum::io {
namespace {

using sched::fd_watch;
using sched::runnable_batch;

// A connected pair of non-blocking sockets.
class socket_pair {
 public:
  socket_pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0); }
  ~socket_pair() {
    close_one(0);
    close_one(1);
  }
  void close_one(int i) {
    if (ends[i] >= 0) ::close(std::exchange(ends[i], -1));
  }
  void send(int from) { EXPECT_EQ(::write(ends[from], "x", 1), 1); }
  bool receive(int at) {
    char c;
    return ::read(ends[at], &c, 1) == 1;
  }
  int ends[2] = {-1, -1};
};

enum class kind { epoll, epoll_without_pwait2, io_uring };

class poller_test : public ::testing::TestWithParam<kind> {
 protected:
  void SetUp() override {
    forbid_epoll_pwait2(GetParam() == kind::epoll_without_pwait2);
    if (GetParam() != kind::io_uring) {
      poller = make_epoll_poller();
    } else if (const char* obstacle = uring_obstacle()) {
      GTEST_SKIP() << "io_uring is not to be had: " << obstacle;
    } else {
      poller = make_uring_poller();
    }
  }
  void TearDown() override { forbid_epoll_pwait2(false); }

  // What fd_watch::release() does.
  void forget(fd_watch& w) {
    w.raise_generation();
    poller->forget(w);
  }
  // Until the condition holds; false when it never does.
  template <class Condition>
  bool wait_until(Condition holds) {
    const auto give_up = os::now_ns() + long_time;
    while (!holds()) {
      if (os::now_ns() > give_up) return false;
      wait(1'000'000);
    }
    return true;
  }

  // Waits for `ns` at most.
  void wait(std::int64_t ns) {
    const auto now = os::now_ns();
    runnable_batch out;
    poller->wait(now + ns, now, out);
  }
  static constexpr std::int64_t long_time = 60'000'000'000;

  std::unique_ptr<sched::poller> poller;
};
std::string engine_name(const ::testing::TestParamInfo<kind>& info) {
  if (info.param == kind::epoll) return "epoll";
  return info.param == kind::io_uring ? "io_uring" : "epoll_without_pwait2";
}
INSTANTIATE_TEST_SUITE_P(engines, poller_test,
                         ::testing::Values(kind::epoll, kind::epoll_without_pwait2, kind::io_uring), engine_name);

TEST_P(poller_test, waits_at_least_until_the_deadline) {
  for (const std::int64_t ns : {1'000, 300'000, 3'000'000}) {
    const auto before = os::now_ns();
    while (os::now_ns() < before + ns) wait(before + ns - os::now_ns());
    EXPECT_GE(os::now_ns(), before + ns);
  }
}

TEST_P(poller_test, a_wake_up_ends_the_wait) {
  std::thread waker([this] { poller->wake(); });
  const auto before = os::now_ns();
  wait(long_time);
  EXPECT_LT(os::now_ns() - before, long_time);
  waker.join();
}

TEST_P(poller_test, a_wake_up_before_the_wait_counts) {
  for (int i = 0; i < 100; ++i) {
    poller->wake();
    const auto before = os::now_ns();
    wait(long_time);
    ASSERT_LT(os::now_ns() - before, long_time);
  }
}

TEST_P(poller_test, counts_what_it_watches) {
  socket_pair s;
  fd_watch w;
  EXPECT_EQ(poller->watched(), 0u);
  EXPECT_EQ(poller->watch(s.ends[0], w), 0);
  EXPECT_EQ(poller->watched(), 1u);
  forget(w);
  EXPECT_EQ(poller->watched(), 0u);
}

TEST_P(poller_test, says_why_a_descriptor_cannot_be_watched) {
  fd_watch w;
  EXPECT_EQ(poller->watch(-1, w), EBADF);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(poller->watch(file, w), EPERM);
  ::close(file);
  EXPECT_EQ(poller->watched(), 0u);
}

TEST_P(poller_test, marks_the_direction_that_has_become_ready) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  // Registering reports what is so already.
  EXPECT_TRUE(wait_until([&] { return w.may_be_ready(fd_watch::writing); }));
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return w.may_be_ready(fd_watch::reading); }));
  forget(w);
}

TEST_P(poller_test, an_attempt_that_found_nothing_clears_the_mark) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return w.may_be_ready(fd_watch::reading); }));
  EXPECT_TRUE(s.receive(0));
  const auto before = w.word(fd_watch::reading);
  EXPECT_FALSE(s.receive(0));
  w.not_ready(fd_watch::reading, before);
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  forget(w);
}

// The race that edge-triggered pollers lose: data come after the attempt, the edge before the mark is
// cleared.
TEST_P(poller_test, an_edge_since_the_attempt_keeps_the_mark) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return w.may_be_ready(fd_watch::reading); }));
  EXPECT_TRUE(s.receive(0));
  const auto before = w.word(fd_watch::reading);
  EXPECT_FALSE(s.receive(0));
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return w.word(fd_watch::reading) != before; }));
  w.not_ready(fd_watch::reading, before);
  EXPECT_TRUE(w.may_be_ready(fd_watch::reading));
  forget(w);
}

// Its buffer wakes whoever polls the sender when it is freed.
TEST_P(poller_test, a_datagram_that_finds_no_room_is_no_edge_and_room_is_one) {
  const auto open = [] { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); };
  const int receiver = open(), sender = open();
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  socklen_t length = sizeof(sa_family_t);  // The kernel gives it a name.
  ASSERT_EQ(::bind(receiver, reinterpret_cast<sockaddr*>(&name), length), 0);
  length = sizeof name;
  ASSERT_EQ(::getsockname(receiver, reinterpret_cast<sockaddr*>(&name), &length), 0);
  ASSERT_EQ(::connect(sender, reinterpret_cast<sockaddr*>(&name), length), 0);
  while (::send(sender, "x", 1, 0) == 1) {
  }
  fd_watch w;
  ASSERT_EQ(poller->watch(sender, w), 0);
  for (int i = 0; i < 5; ++i) wait(2'000'000);  // What it tells at first.
  const auto before = w.word(fd_watch::writing);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(::send(sender, "x", 1, 0), -1);
    EXPECT_EQ(errno, EAGAIN);
    wait(1'000'000);
  }
  EXPECT_EQ(w.word(fd_watch::writing), before);
  char c;
  EXPECT_EQ(::recv(receiver, &c, 1, 0), 1);
  EXPECT_TRUE(wait_until([&] { return w.word(fd_watch::writing) != before; }));
  forget(w);
  ::close(sender);
  ::close(receiver);
}

// Of descriptors of others: epoll's.
class once_test : public poller_test {
 protected:
  void SetUp() override {
    poller_test::SetUp();
    ASSERT_TRUE(poller->adopt(w));
  }
  void TearDown() override {
    forget(w);
    poller_test::TearDown();
  }
  bool is_told() {
    wait(0);
    const auto word = w.word(fd_watch::reading);
    w.not_ready(fd_watch::reading, word);
    return fd_watch::may_be_ready(word);
  }

  fd_watch w;
};
INSTANTIATE_TEST_SUITE_P(engines, once_test, ::testing::Values(kind::epoll, kind::epoll_without_pwait2), engine_name);

TEST_P(once_test, tells_once_what_is_so_and_what_becomes_so) {
  socket_pair s;
  EXPECT_EQ(poller->watch_once(s.ends[0], w, POLLOUT), 0);
  EXPECT_TRUE(is_told());
  EXPECT_EQ(w.told(), unsigned{POLLOUT});
  EXPECT_FALSE(is_told());
  EXPECT_EQ(poller->watch_once(s.ends[0], w, POLLIN), 0);
  EXPECT_FALSE(is_told());
  s.send(1);
  EXPECT_TRUE(is_told());
  EXPECT_EQ(w.told(), unsigned{POLLIN});
  s.send(1);
  EXPECT_FALSE(is_told());
  s.close_one(1);
  EXPECT_EQ(poller->watch_once(s.ends[0], w, POLLIN | POLLRDHUP), 0);
  EXPECT_TRUE(is_told());
  EXPECT_EQ(w.told(), unsigned{POLLIN | POLLRDHUP | POLLHUP});
}

// The number may stand for another file each time, also while the one before lives on under another number.
TEST_P(once_test, is_about_what_the_number_stands_for) {
  socket_pair before, after;
  EXPECT_EQ(poller->watch_once(before.ends[0], w, POLLIN), 0);
  const int kept = ::dup(before.ends[0]);
  ASSERT_EQ(::dup2(after.ends[0], before.ends[0]), before.ends[0]);
  w.raise_generation();  // As who gives the wait up does.
  EXPECT_EQ(poller->watch_once(before.ends[0], w, POLLIN), 0);
  before.send(1);
  EXPECT_FALSE(is_told());
  after.send(1);
  EXPECT_TRUE(is_told());
  ::close(kept);
}

TEST_P(once_test, beside_a_watch_of_the_same_descriptor) {
  socket_pair s;
  fd_watch ours;
  EXPECT_EQ(poller->watch(s.ends[0], ours), 0);
  EXPECT_EQ(poller->watch_once(s.ends[0], w, POLLIN), 0);
  EXPECT_EQ(poller->watched(), 2u);
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return ours.may_be_ready(fd_watch::reading) && w.may_be_ready(fd_watch::reading); }));
  forget(ours);
}

TEST_P(once_test, wakes_who_sleeps_and_tells_of_many) {
  constexpr std::size_t many = 1500;  // More than one call to the kernel brings.
  std::vector<std::unique_ptr<socket_pair>> pairs(many);
  std::vector<fd_watch> watches(many);
  for (std::size_t i = 0; i < many; ++i) {
    pairs[i] = std::make_unique<socket_pair>();
    ASSERT_TRUE(poller->adopt(watches[i]));
    ASSERT_EQ(poller->watch_once(pairs[i]->ends[0], watches[i], POLLIN), 0);
  }
  std::thread sender([&] {
    for (auto& s : pairs) s->send(1);
  });
  EXPECT_TRUE(wait_until([&] {
    return std::all_of(watches.begin(), watches.end(), [](const auto& x) { return x.may_be_ready(fd_watch::reading); });
  }));
  sender.join();
  for (auto& x : watches) forget(x);
}

TEST_P(once_test, says_why_it_cannot) {
  EXPECT_EQ(poller->watch_once(-1, w, POLLIN), EBADF);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(poller->watch_once(file, w, POLLIN), EPERM);
  ::close(file);
}

TEST_P(poller_test, the_end_of_the_stream_stays_marked) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.close_one(1);
  EXPECT_TRUE(wait_until([&] { return fd_watch::hung_up(w.word(fd_watch::writing)); }));
  for (auto d : {fd_watch::reading, fd_watch::writing}) {
    EXPECT_TRUE(w.may_be_ready(d));
    w.not_ready(d, w.word(d));
    EXPECT_TRUE(w.may_be_ready(d));
  }
  forget(w);
}

// Closing a descriptor right after forget() closes the file: nothing here keeps it open.
TEST_P(poller_test, a_file_is_let_go_when_it_is_forgotten) {
  for (int i = 0; i < 200; ++i) {
    socket_pair s;
    fd_watch w;
    ASSERT_EQ(poller->watch(s.ends[0], w), 0);
    if (i % 2 == 0) wait(0);
    if (i % 3 == 0) s.send(1);
    forget(w);
    s.close_one(0);
    char c;
    const auto n = ::read(s.ends[1], &c, 1);  // A reset where something had been left unread.
    ASSERT_TRUE(n == 0 || (n < 0 && errno == ECONNRESET)) << "no end of stream";
  }
}

TEST_P(poller_test, a_port_is_free_when_its_listener_is_closed) {
  in_port_t port = 0;
  for (int i = 0; i < 100; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = port;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof a;
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0) << "the port is still in use";
    ASSERT_EQ(::listen(fd, 1), 0);
    ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &length), 0);
    port = a.sin_port;
    fd_watch w;
    ASSERT_EQ(poller->watch(fd, w), 0);
    wait(0);
    forget(w);
    ::close(fd);
  }
}

// More events than the ring of completions has places: polls end, and are armed again without losing an edge.
TEST_P(poller_test, more_events_than_the_kernel_keeps_lose_no_edge) {
  constexpr int pairs = 50, rounds = 200;
  std::vector<socket_pair> s(pairs);
  std::vector<fd_watch> w(pairs);
  for (int i = 0; i < pairs; ++i)
    ASSERT_EQ(poller->watch(s[static_cast<std::size_t>(i)].ends[0], w[static_cast<std::size_t>(i)]), 0);
  const auto all = [&](auto is) {
    for (std::size_t i = 0; i < pairs; ++i)
      if (!is(i)) return false;
    return true;
  };
  EXPECT_TRUE(wait_until([&] { return all([&](auto i) { return w[i].word(fd_watch::writing) > 1; }); }));
  // Nobody looks meanwhile: each byte may be an event of its own.
  for (int round = 0; round < rounds; ++round)
    for (auto& one : s) one.send(1);
  EXPECT_TRUE(wait_until([&] { return all([&](auto i) { return w[i].may_be_ready(fd_watch::reading); }); }));
  // Old events come first; those that are armed again tell once more. Then each tells of the next byte.
  for (std::size_t i = 0; i < pairs; ++i) {
    while (s[i].receive(0)) {
    }
    s[i].send(1);
  }
  for (std::size_t i = 0; i < pairs; ++i) {
    while (true) {
      const auto before = w[i].word(fd_watch::reading);
      if (s[i].receive(0)) break;
      w[i].not_ready(fd_watch::reading, before);
      ASSERT_TRUE(wait_until([&] { return w[i].may_be_ready(fd_watch::reading); }));
    }
    // Nothing is left, and the mark goes once the old events have come: only a new byte sets it again.
    for (int quiet = 0; quiet < 3; ++quiet) wait(0);
    const auto before = w[i].word(fd_watch::reading);
    w[i].not_ready(fd_watch::reading, before);
    s[i].send(1);
    ASSERT_TRUE(wait_until([&] { return w[i].may_be_ready(fd_watch::reading); })) << "the poll of " << i << " is lost";
    forget(w[i]);
  }
}

// A registration belongs to no thread that may end: here the one that made it does.
TEST_P(poller_test, a_descriptor_is_watched_longer_than_the_thread_lives_that_registered_it) {
  socket_pair s;
  fd_watch w;
  std::thread([&] {
    ASSERT_EQ(poller->watch(s.ends[0], w), 0);
    EXPECT_TRUE(wait_until([&] { return w.word(fd_watch::writing) > 1; }));
  }).join();
  s.send(1);
  EXPECT_TRUE(wait_until([&] { return w.may_be_ready(fd_watch::reading); }));
  forget(w);
}

// Waiting for this thread's descriptors must not disturb calls that block it: EINTR without a signal surprises C code.
TEST_P(poller_test, events_interrupt_no_call_of_the_thread_that_registered) {
  socket_pair s, quiet;
  timeval limit{.tv_sec = 0, .tv_usec = 50'000};
  ASSERT_EQ(::setsockopt(quiet.ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  ASSERT_EQ(::fcntl(quiet.ends[0], F_SETFL, 0), 0);  // It blocks.
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  EXPECT_TRUE(wait_until([&] { return w.word(fd_watch::writing) > 1; }));
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) {
      [[maybe_unused]] const auto n = ::write(s.ends[1], "x", 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  char c;
  // With a time limit recv(2) is not restarted: EINTR would show.
  EXPECT_EQ(::recv(quiet.ends[0], &c, 1, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  stop = true;
  sender.join();
  forget(w);
}

// Many threads, as watchers and closers are many, and one that waits.
TEST_P(poller_test, registrations_come_and_go_from_all_threads_while_one_waits) {
  std::vector<fd_watch> watches(4);  // An event that is on its way may still name one.
  std::atomic<bool> stop{false};
  std::thread waiter([&] {
    while (!stop) wait(1'000'000);
  });
  std::vector<std::thread> users;
  for (std::size_t t = 0; t < 4; ++t)
    users.emplace_back([&, t] {
      auto& w = watches[t];
      for (int i = 0; i < 200; ++i) {
        socket_pair s;
        ASSERT_EQ(poller->watch(s.ends[0], w), 0);
        const auto before = w.word(fd_watch::reading);
        s.send(1);
        poller->wake();
        const auto give_up = os::now_ns() + long_time;
        while (i % 4 == 0 && w.word(fd_watch::reading) == before && os::now_ns() < give_up) std::this_thread::yield();
        if (i % 4 == 0) EXPECT_NE(w.word(fd_watch::reading), before);
        forget(w);
      }
    });
  for (auto& u : users) u.join();
  stop = true;
  waiter.join();
  EXPECT_EQ(poller->watched(), 0u);
}

// An event that the kernel has delivered already may name a watch that serves another descriptor by now.
TEST_P(poller_test, events_for_a_released_watch_are_ignored) {
  fd_watch w;
  runnable_batch out;
  const auto old = w.generation();
  w.ready(fd_watch::can_read, static_cast<std::uint16_t>(old + 1), out);
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  w.ready(fd_watch::can_read, old, out);
  EXPECT_TRUE(w.may_be_ready(fd_watch::reading));
}

// ---------------------------------------------------------------------------------------------------------------
// Waiting, inside a runtime.

class fd_waiting : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(F&& f) {
    runtime rt({.workers = GetParam()});
    rt.run(std::forward<F>(f));
  }
  static constexpr std::int64_t forever = INT64_MAX;
  static fd_watch::outcome until_readable(fd_watch& w, std::int64_t deadline_ns) {
    return w.wait(sched::begin_call(), fd_watch::reading, deadline_ns, w.generation());
  }
};
INSTANTIATE_TEST_SUITE_P(workers, fd_waiting, ::testing::Values(1u, 2u, 4u));

TEST_P(fd_waiting, returns_at_the_next_edge) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    ASSERT_NE(w, nullptr);
    go([&] { s.send(1); });
    EXPECT_EQ(until_readable(*w, forever), fd_watch::outcome::ready);
    EXPECT_TRUE(s.receive(0));
    w->release();
  });
}

TEST_P(fd_waiting, ends_at_its_deadline_or_when_its_scope_is_cancelled) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    EXPECT_EQ(until_readable(*w, os::now_ns() + 1'000'000), fd_watch::outcome::timed_out);
    fiber f = spawn([&] { EXPECT_EQ(until_readable(*w, forever), fd_watch::outcome::cancelled); });
    this_fiber::yield();
    f.request_stop();
    f.join();
    w->release();
  });
}

TEST_P(fd_waiting, ends_for_everybody_when_the_descriptor_is_closed) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    std::atomic<int> closed{0};
    scope all;
    for (int i = 0; i < 5; ++i) all.go([&] { closed += until_readable(*w, forever) == fd_watch::outcome::closed; });
    this_fiber::sleep_for(std::chrono::milliseconds(1));
    w->close();
    all.join();
    EXPECT_EQ(closed.load(), 5);
    EXPECT_EQ(until_readable(*w, forever), fd_watch::outcome::closed);
    w->release();
  });
}

TEST_P(fd_waiting, wakes_all_who_wait_for_one_edge) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    scope all;
    for (int i = 0; i < 5; ++i) all.go([&] { EXPECT_EQ(until_readable(*w, forever), fd_watch::outcome::ready); });
    this_fiber::sleep_for(std::chrono::milliseconds(1));
    s.send(1);
    all.join();
    w->release();
  });
}

TEST_P(fd_waiting, a_released_watch_serves_the_next_descriptor_afresh) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      socket_pair s;
      fd_watch* w = fd_watch::create(s.ends[0]);
      ASSERT_FALSE(w->may_be_ready(fd_watch::reading));
      s.send(1);
      ASSERT_EQ(until_readable(*w, forever), fd_watch::outcome::ready);
      w->close();
      w->release();
    }
  });
}

// One reads until there is nothing and waits, another writes at any moment: no byte is slept through.
TEST_P(fd_waiting, no_edge_is_missed_between_an_attempt_and_the_wait) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    constexpr int count = 2000;
    fiber writer = spawn([&] {
      for (int i = 0; i < count; ++i) {
        while (::write(s.ends[1], "x", 1) != 1) this_fiber::yield();  // The buffer may be full.
        if (i % 3 == 0) this_fiber::yield();
      }
    });
    for (int read = 0; read < count;) {
      const auto before = w->word(fd_watch::reading);
      if (s.receive(0)) {
        ++read;
        continue;
      }
      w->not_ready(fd_watch::reading, before);
      ASSERT_EQ(until_readable(*w, forever), fd_watch::outcome::ready);
    }
    writer.join();
    w->release();
  });
}

}  // namespace
}  // namespace thrum::io
