// The epoll poller and the watches of its descriptors, with epoll_pwait2 and without it.
#include "io/epoll_poller.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <thrum/thrum.hpp>

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

// The parameter: is epoll_pwait2 to be had?
class poller_test : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { forbid_epoll_pwait2(!GetParam()); }
  void TearDown() override { forbid_epoll_pwait2(false); }

  // Waits for `ns` at most.
  void wait(std::int64_t ns) {
    const auto now = os::now_ns();
    runnable_batch out;
    poller->wait(now + ns, now, out);
  }
  static constexpr std::int64_t long_time = 60'000'000'000;

  std::unique_ptr<sched::poller> poller = make_epoll_poller();
};
INSTANTIATE_TEST_SUITE_P(pwait2, poller_test, ::testing::Bool());

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
  poller->forget();
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
  wait(0);  // Registering reports what is so already.
  EXPECT_TRUE(w.may_be_ready(fd_watch::writing));
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  s.send(1);
  wait(long_time);
  EXPECT_TRUE(w.may_be_ready(fd_watch::reading));
  poller->forget();
}

TEST_P(poller_test, an_attempt_that_found_nothing_clears_the_mark) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.send(1);
  wait(long_time);
  EXPECT_TRUE(s.receive(0));
  const auto before = w.word(fd_watch::reading);
  EXPECT_FALSE(s.receive(0));
  w.not_ready(fd_watch::reading, before);
  EXPECT_FALSE(w.may_be_ready(fd_watch::reading));
  poller->forget();
}

// The race that edge-triggered pollers lose: data come after the attempt, the edge before the mark is
// cleared.
TEST_P(poller_test, an_edge_since_the_attempt_keeps_the_mark) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.send(1);
  wait(long_time);
  EXPECT_TRUE(s.receive(0));
  const auto before = w.word(fd_watch::reading);
  EXPECT_FALSE(s.receive(0));
  s.send(1);
  wait(long_time);
  w.not_ready(fd_watch::reading, before);
  EXPECT_TRUE(w.may_be_ready(fd_watch::reading));
  poller->forget();
}

TEST_P(poller_test, the_end_of_the_stream_stays_marked) {
  socket_pair s;
  fd_watch w;
  ASSERT_EQ(poller->watch(s.ends[0], w), 0);
  s.close_one(1);
  wait(long_time);
  for (auto d : {fd_watch::reading, fd_watch::writing}) {
    EXPECT_TRUE(w.may_be_ready(d));
    w.not_ready(d, w.word(d));
    EXPECT_TRUE(w.may_be_ready(d));
  }
  poller->forget();
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
};
INSTANTIATE_TEST_SUITE_P(workers, fd_waiting, ::testing::Values(1u, 2u, 4u));

TEST_P(fd_waiting, returns_at_the_next_edge) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    ASSERT_NE(w, nullptr);
    go([&] { s.send(1); });
    EXPECT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::ready);
    EXPECT_TRUE(s.receive(0));
    w->release();
  });
}

TEST_P(fd_waiting, ends_at_its_deadline_or_when_its_scope_is_cancelled) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    EXPECT_EQ(w->wait(fd_watch::reading, os::now_ns() + 1'000'000), fd_watch::outcome::timed_out);
    fiber f = spawn([&] { EXPECT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::cancelled); });
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
    for (int i = 0; i < 5; ++i)
      all.go([&] { closed += w->wait(fd_watch::reading, forever) == fd_watch::outcome::closed; });
    this_fiber::sleep_for(std::chrono::milliseconds(1));
    w->close();
    all.join();
    EXPECT_EQ(closed.load(), 5);
    EXPECT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::closed);
    w->release();
  });
}

TEST_P(fd_waiting, wakes_all_who_wait_for_one_edge) {
  run([] {
    socket_pair s;
    fd_watch* w = fd_watch::create(s.ends[0]);
    scope all;
    for (int i = 0; i < 5; ++i)
      all.go([&] { EXPECT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::ready); });
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
      ASSERT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::ready);
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
      ASSERT_EQ(w->wait(fd_watch::reading, forever), fd_watch::outcome::ready);
    }
    writer.join();
    w->release();
  });
}

}  // namespace
}  // namespace thrum::io
