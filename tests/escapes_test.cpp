// Simulated programs that leave the simulation: the clocks that they read are virtual, and all else is named. A program
// of its own, since the header that it includes is for all of a program.
#include <thrum/sim_escapes.hpp>

#include <chrono>
#include <ctime>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <thrum/blocking.hpp>
#include <thrum/sim.hpp>
#include <thrum/task_blocking.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class escapes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (under_tsan) GTEST_SKIP() << "ThreadSanitizer has definitions of its own";
  }
};

constexpr std::chrono::seconds year_2000{946'684'800};

bool says(const sim::verdict& v, const std::string& what) {
  return v.report.find(what) != std::string::npos || !(std::cerr << v.report);
}

// ---------------------------------------------------------------------------------------------------------------
// Clocks.

std::int64_t read_ns(clockid_t clock) {
  timespec t{};
  EXPECT_EQ(::clock_gettime(clock, &t), 0);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

std::vector<std::int64_t> all_clocks() {
  timeval of_day{};
  EXPECT_EQ(::gettimeofday(&of_day, nullptr), 0);
  timespec utc{};
  EXPECT_EQ(::timespec_get(&utc, TIME_UTC), TIME_UTC);
  return {std::chrono::steady_clock::now().time_since_epoch().count(),
          std::chrono::system_clock::now().time_since_epoch().count(),
          read_ns(CLOCK_REALTIME),
          read_ns(CLOCK_MONOTONIC),
          read_ns(CLOCK_MONOTONIC_RAW),
          read_ns(CLOCK_BOOTTIME),
          of_day.tv_sec * 1'000'000 + of_day.tv_usec,
          utc.tv_sec * 1'000'000'000 + utc.tv_nsec,
          ::time(nullptr)};
}

TEST_F(escapes, clocks_of_std_and_libc_show_virtual_time) {
  const auto real_before = std::chrono::system_clock::now();
  sim::run({}, [] {
    const auto steady = std::chrono::steady_clock::now();
    EXPECT_EQ(steady.time_since_epoch(), clock::now().time_since_epoch());
    const std::chrono::nanoseconds wall = std::chrono::system_clock::now().time_since_epoch();
    EXPECT_EQ(wall, year_2000 + steady.time_since_epoch());
    EXPECT_EQ(read_ns(CLOCK_REALTIME), wall.count());
    EXPECT_EQ(::time(nullptr), wall / 1s);
    this_fiber::sleep_for(24h);
    EXPECT_GE(std::chrono::steady_clock::now() - steady, 24h);
    EXPECT_LT(std::chrono::steady_clock::now() - steady, 24h + 1s);
    EXPECT_GE(std::chrono::system_clock::now().time_since_epoch() - wall, 24h);
    EXPECT_EQ(std::chrono::steady_clock::now().time_since_epoch(), clock::now().time_since_epoch());
    spawn([]() -> task<> {
      co_await async_yield();
      EXPECT_EQ(std::chrono::steady_clock::now().time_since_epoch(), clock::now().time_since_epoch());
    }())
        .join();
  });
  const auto real_after = std::chrono::system_clock::now();
  EXPECT_GE(real_after, real_before);
  EXPECT_LT(real_after - real_before, 1h);
  EXPECT_GT(real_before.time_since_epoch(), year_2000 + 24h * 365);
}

TEST_F(escapes, what_clocks_show_is_the_same_again) {
  const auto shown = [](std::uint64_t seed) {
    std::vector<std::int64_t> all;
    sim::run({.seed = seed}, [&] {
      scope s;
      for (int i = 0; i < 4; ++i)
        s.go([&] {
          for (int k = 0; k < 5; ++k) {
            this_fiber::yield();
            const auto now = all_clocks();
            all.insert(all.end(), now.begin(), now.end());
          }
        });
      s.join();
    });
    return all;
  };
  EXPECT_EQ(shown(7), shown(7));
  EXPECT_NE(shown(7), shown(8));
}

TEST_F(escapes, programs_that_wait_by_the_clocks_of_std_are_deterministic) {
  const auto program = [] {
    channel<int> ch(0);
    fiber f = spawn([&] { (void)ch.receive_until(std::chrono::system_clock::now() + 5ms); });
    const auto until = std::chrono::steady_clock::now() + 3ms;
    while (std::chrono::steady_clock::now() < until) this_fiber::yield();
    f.join();
  };
  EXPECT_EQ(sim::run({.seed = 3}, program), sim::run({.seed = 3}, program));
}

TEST_F(escapes, clocks_of_cpu_time_are_real) {
  sim::run({}, [] {
    const auto before = read_ns(CLOCK_THREAD_CPUTIME_ID);
    this_fiber::sleep_for(24h);
    EXPECT_LT(std::chrono::nanoseconds(read_ns(CLOCK_THREAD_CPUTIME_ID) - before), 1h);
  });
}

// ---------------------------------------------------------------------------------------------------------------
// Names.

struct call {
  std::string_view name;
  void (*make)();
};

int an_epoll() {
  static const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  return fd;
}

sockaddr no_address{};
socklen_t size_of_address = sizeof no_address;
char byte = 0;
msghdr no_message{};
timespec short_time{.tv_sec = 0, .tv_nsec = 1};
timeval short_timeval{.tv_sec = 0, .tv_usec = 1};
epoll_event no_event{};

const call all_calls[] = {
    {"pthread_create", [] { std::thread([] {}).join(); }},
    {"nanosleep", [] { std::this_thread::sleep_for(1ns); }},
    {"clock_nanosleep", [] { ::clock_nanosleep(CLOCK_MONOTONIC, 0, &short_time, nullptr); }},
    {"usleep", [] { ::usleep(1); }},
    {"sleep", [] { ::sleep(0); }},
    {"poll", [] { ::poll(nullptr, 0, 1); }},
    {"ppoll", [] { ::ppoll(nullptr, 0, &short_time, nullptr); }},
    {"select", [] { ::select(0, nullptr, nullptr, nullptr, &short_timeval); }},
    {"pselect", [] { ::pselect(0, nullptr, nullptr, nullptr, &short_time, nullptr); }},
    {"epoll_wait", [] { ::epoll_wait(an_epoll(), &no_event, 1, 1); }},
    {"epoll_pwait", [] { ::epoll_pwait(an_epoll(), &no_event, 1, 1, nullptr); }},
    {"epoll_pwait2", [] { ::epoll_pwait2(an_epoll(), &no_event, 1, &short_time, nullptr); }},
    {"socket", [] { ::close(::socket(AF_INET, SOCK_STREAM, 0)); }},
    {"socketpair",
     [] {
       int ends[2];
       if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return;
       ::close(ends[0]);
       ::close(ends[1]);
     }},
    {"bind", [] { ::bind(-1, &no_address, size_of_address); }},
    {"listen", [] { ::listen(-1, 1); }},
    {"accept", [] { ::accept(-1, &no_address, &size_of_address); }},
    {"accept4", [] { ::accept4(-1, &no_address, &size_of_address, 0); }},
    {"connect", [] { ::connect(-1, &no_address, size_of_address); }},
    {"send", [] { (void)!::send(-1, &byte, 1, 0); }},
    {"sendto", [] { (void)!::sendto(-1, &byte, 1, 0, &no_address, size_of_address); }},
    {"sendmsg", [] { (void)!::sendmsg(-1, &no_message, 0); }},
    {"recv", [] { (void)!::recv(-1, &byte, 1, 0); }},
    {"recvfrom", [] { (void)!::recvfrom(-1, &byte, 1, 0, &no_address, &size_of_address); }},
    {"recvmsg", [] { (void)!::recvmsg(-1, &no_message, 0); }},
    {"getaddrinfo",
     [] {
       addrinfo* found = nullptr;
       addrinfo hints{};
       hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
       if (::getaddrinfo("127.0.0.1", "1", &hints, &found) == 0) ::freeaddrinfo(found);
     }},
    {"getrandom", [] { (void)!::getrandom(&byte, 1, 0); }},
    {"getentropy", [] { (void)!::getentropy(&byte, 1); }},
    {"std::random_device", [] { (void)std::random_device()(); }},
};

TEST_F(escapes, each_is_named_with_who_makes_it_and_can_be_replayed) {
  for (const auto& c : all_calls) {
    const auto v = sim::check(
        [&] {
          fiber f = spawn({.name = "culprit"}, [&] {
            this_fiber::yield();
            c.make();
          });
          f.join();
        },
        {.schedules = 1, .shrink = false});
    EXPECT_FALSE(v.passed) << c.name;
    EXPECT_TRUE(says(v, "it ends the process with status 2"));
    EXPECT_TRUE(says(v, "thrum: sim: the program calls " + std::string(c.name) + ", which is not simulated: "));
    EXPECT_TRUE(says(v, "called by fiber "));
    EXPECT_TRUE(says(v, " \"culprit\" (spawned at "));
    EXPECT_TRUE(says(v, "replay with THRUM_SIM=seed=1"));
  }
}

TEST_F(escapes, tasks_are_named_too) {
  const auto v = sim::check(
      [] {
        spawn([]() -> task<> {
          co_await async_yield();
          ::usleep(1);
        }())
            .join();
      },
      {.schedules = 1, .shrink = false});
  EXPECT_FALSE(v.passed);
  EXPECT_TRUE(says(v, "the program calls usleep, which is not simulated: use thrum::this_fiber::sleep_for"));
  EXPECT_TRUE(says(v, "called by task "));
}

// An escape that only some schedules make.
TEST_F(escapes, are_found_in_the_schedules_that_make_them) {
  const auto v = sim::check(
      [] {
        bool set = false;
        scope s;
        s.go([&] {
          this_fiber::yield();
          set = true;
        });
        s.go([&] {
          this_fiber::yield();
          if (!set) ::usleep(1);
        });
        s.join();
      },
      {.schedules = 100});
  EXPECT_FALSE(v.passed);
  EXPECT_TRUE(says(v, "the program calls usleep"));
}

// ---------------------------------------------------------------------------------------------------------------
// Who is not accused.

TEST_F(escapes, outside_of_simulated_programs_the_calls_are_what_they_were) {
  for (const auto& c : all_calls) c.make();
  bool ran = false;
  std::thread([&] { ran = true; }).join();
  EXPECT_TRUE(ran);
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_EQ(::send(ends[0], "x", 1, 0), 1);
  EXPECT_EQ(::recv(ends[1], &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(::recv(-1, &byte, 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
  const auto before = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(2ms);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 2ms);
  run([] {
    for (const auto& c : all_calls) c.make();
  });
}

TEST_F(escapes, offloaded_calls_are_outside_by_intention) {
  const auto v = sim::check(
      [] {
        const auto inside = std::chrono::system_clock::now();
        std::chrono::system_clock::time_point outside;
        blocking([&] {
          for (const auto& c : all_calls) c.make();
          outside = std::chrono::system_clock::now();
        });
        EXPECT_LT(inside.time_since_epoch(), year_2000 + 24h);
        EXPECT_GT(outside.time_since_epoch(), year_2000 + 24h);
        spawn([]() -> task<> { co_await async_blocking([] { ::usleep(1); }); }()).join();
        EXPECT_LT(std::chrono::system_clock::now().time_since_epoch(), year_2000 + 24h);
      },
      {.schedules = 20, .failed = [] { return ::testing::Test::HasFailure(); }});
  EXPECT_TRUE(v.passed) << v.report;
}

// The call waits, and meanwhile others run.
TEST_F(escapes, an_offloaded_call_excuses_nobody_else) {
  const auto program = [](bool outside) {
    return [outside] {
      event began, done;
      fiber f = spawn([&] {
        blocking([&] {
          began.set();
          ::usleep(1);
        });
        done.wait();
        if (outside) blocking([] { ::usleep(1); });
      });
      fiber g = spawn([&] {
        began.wait();
        if (!outside) ::usleep(1);
        done.set();
      });
      f.join();
      g.join();
    };
  };
  EXPECT_TRUE(sim::check(program(true), {.schedules = 20}).passed);
  EXPECT_FALSE(sim::check(program(false), {.schedules = 20, .shrink = false}).passed);
}

TEST_F(escapes, programs_that_stay_inside_are_not_accused) {
  const auto v = sim::check(
      [] {
        ::poll(nullptr, 0, 0);  // Only looks.
        auto listener = net::tcp_listener::bind("127.0.0.1:0");
        const auto port = std::to_string(listener.local_port());
        scope s;
        s.go([&] {
          auto c = listener.accept();
          std::array<std::byte, 4> question;
          c.read_exactly(question);
          c.write_all(question);
        });
        s.go([&] {
          auto c = net::tcp_stream::connect("127.0.0.1:" + port);
          std::array<std::byte, 4> answer{};
          c.write_all(answer);
          c.read_exactly(answer);
        });
        s.go([] {
          auto f = file::open("/tmp/x", {.write = true, .create = true});
          f.write_all(std::as_bytes(std::span("text", 4)));
          f.sync();
        });
        s.go([] {
          run([] {
            for (ticker every(1ms); auto t = every.receive();)
              if (t) break;
          });
        });
        s.join();
        go([] { this_fiber::sleep_for(24h); });  // To be cancelled.
      },
      {.schedules = 100});
  EXPECT_TRUE(v.passed) << v.report;
}

}  // namespace
}  // namespace thrum
