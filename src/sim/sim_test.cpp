// The simulation: what a seed decides, what time does, which failures are found, and how they are told.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <thrum/sim.hpp>
#include <thrum/sim_gtest.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

std::vector<int> order_of(std::uint64_t seed, sim::strategy how) {
  std::vector<int> order;
  sim::run({.seed = seed, .how = how}, [&] {
    scope s;
    for (int i = 0; i < 8; ++i) s.go([&, i] { order.push_back(i); });
    s.join();
  });
  return order;
}

TEST(sim_run, the_same_seed_is_the_same_schedule_and_others_differ) {
  for (const auto how : {sim::strategy::random_walk, sim::strategy::pct}) {
    EXPECT_EQ(order_of(1, how), order_of(1, how));
    int different = 0;
    for (std::uint64_t seed = 2; seed < 12; ++seed) different += order_of(seed, how) != order_of(1, how);
    EXPECT_GE(different, 8);
  }
}

TEST(sim_run, equal_options_have_equal_traces) {
  const auto program = [] {
    channel<int> ch(2);
    scope s;
    for (int i = 0; i < 4; ++i)
      s.go([&] {
        for (int k = 0; k < 20; ++k) {
          select(ch.on_send(k, [] {}), ch.on_receive([](auto) {}), after(1ms, [] {}));
          if (k % 7 == 0) this_fiber::sleep_for(1ms);
        }
      });
    s.go([&]() { spawn([&]() -> task<> { (void)co_await ch.async_receive_for(5ms); }()).join(); });
    s.join();
  };
  const auto first = sim::run({.seed = 5}, program);
  EXPECT_GT(first.decisions, 50u);
  EXPECT_EQ(first, sim::run({.seed = 5}, program));
  EXPECT_NE(first, sim::run({.seed = 6}, program));
}

TEST(sim_run, time_jumps) {
  const auto t = sim::run({}, [] {
    const auto began = clock::now();
    this_fiber::sleep_for(24h);
    EXPECT_GE(clock::now() - began, 24h);
    EXPECT_LT(clock::now() - began, 24h + 1s);
    int ticks = 0;
    for (ticker every(1min); ticks < 60; ++ticks) (void)every.receive();
    EXPECT_LT(clock::now() - began, 25h + 1s);
  });
  EXPECT_GE(t.elapsed, 25h);
}

// How many different results f() has.
template <class F>
std::size_t outcomes_of(F f) {
  std::set<int> seen;
  sim::options o;
  for (o.seed = 1; o.seed <= 32; ++o.seed) sim::run(o, [&] { seen.insert(f()); });
  return seen.size();
}

TEST(sim_run, what_is_due_at_one_instant_happens_in_any_order) {
  const auto deadline_and_sleep = [] {
    bool slept = false;
    const auto then = clock::now() + 1s;
    scope s{.deadline = 1s};
    s.go([&] {
      this_fiber::sleep_until(then);
      slept = true;
    });
    EXPECT_THROW(s.join(), timed_out);
    return slept;
  };
  EXPECT_EQ(outcomes_of(deadline_and_sleep), 2u);

  const auto timer_and_time_out = [] {
    const auto then = clock::now() + 1s;
    timer t(1s);
    return t.receive_until(then).has_value();
  };
  EXPECT_EQ(outcomes_of(timer_and_time_out), 2u);

  const auto timers_of_one_select = [] {
    int which = 0;
    select(after(2s, [] {}), after(1s, [&] { which = 1; }), after(1s, [&] { which = 2; }),
           after(1s, [&] { which = 3; }));
    return which;
  };
  EXPECT_EQ(outcomes_of(timers_of_one_select), 3u);
}

TEST(sim_run, spinning_for_others_lets_them_run) {
  sim::run({}, [] {
    std::atomic<bool> set{false};
    fiber f = spawn([&] {
      this_fiber::sleep_for(1ms);
      set = true;
    });
    while (!set) this_fiber::yield();
    mutex m;
    m.lock();
    fiber g = spawn([&] {
      while (!m.try_lock()) (void)channel<int>(0).receive_for(1us);
      m.unlock();
    });
    for (int i = 0; i < 1000; ++i) this_fiber::yield();
    m.unlock();
    g.join();
  });
}

TEST(sim_run, an_exception_of_the_program_arrives) {
  EXPECT_THROW(sim::run({}, [] { throw std::runtime_error("expected"); }), std::runtime_error);
}

TEST(sim_run, those_who_are_left_are_cancelled) {
  int cancelled_ones = 0;
  sim::run({}, [&] {
    for (int i = 0; i < 3; ++i)
      go([&] {
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {
          ++cancelled_ones;
          throw;
        }
      });
    settle();
  });
  EXPECT_EQ(cancelled_ones, 3);
}

TEST(sim_run, the_kernels_descriptors_are_refused) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  auto s = net::tcp_stream::adopt(ends[0]);
  sim::run({}, [&] {
    EXPECT_THROW((void)net::tcp_stream::adopt(ends[1]), std::system_error);
    std::error_code error;
    s.wait_readable(error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
    s.write_all(std::as_bytes(std::span("x", 1)), error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
  });
  ::close(ends[1]);
}

// ---------------------------------------------------------------------------------------------------------------
// Checking.

sim::verdict failing(const std::function<void()>& program, sim::budget b = {.schedules = 200}) {
  auto v = sim::check(program, b);
  EXPECT_FALSE(v.passed);
  EXPECT_NE(v.report.find(v.replay), std::string::npos) << v.report;
  return v;
}

bool says(const sim::verdict& v, const std::string& what) {
  return v.report.find(what) != std::string::npos || !(std::cerr << v.report);
}

struct account {
  mutex m;
  int balance = 100;

  int read() {
    const std::lock_guard hold(m);
    return balance;
  }
  void write(int b) {
    const std::lock_guard hold(m);
    balance = b;
  }
};

// What was read may be old when it is written back.
void withdraw_twice() {
  account a;
  const auto withdraw = [&] { a.write(a.read() - 10); };
  fiber f = spawn({.name = "first"}, withdraw), g = spawn({.name = "second"}, withdraw);
  f.join();
  g.join();
  if (a.balance != 80) throw std::runtime_error("money was made");
}

TEST(sim_check, tells_what_failed_and_who_ran_when) {
  const auto v = failing(withdraw_twice);
  EXPECT_TRUE(says(v, "an exception has left the program: money was made\n"));
  EXPECT_TRUE(says(v, " \"first\" (sim_test.cpp:"));
  EXPECT_TRUE(says(v, "could go on, in thrum::mutex::lock"));
}

TEST(sim_check, shrinks_to_the_preemptions_that_matter) {
  const auto v = failing([] {
    scope noise;
    for (int i = 0; i < 5; ++i)
      noise.go([] {
        for (int k = 0; k < 10; ++k) this_fiber::yield();
      });
    withdraw_twice();
    noise.join();
  });
  const auto at = v.replay.find(",at=");
  ASSERT_NE(at, std::string::npos) << v.replay;
  // Of some fifty decisions that a random walk makes otherwise.
  EXPECT_LE(std::count(v.replay.begin() + static_cast<std::ptrdiff_t>(at), v.replay.end(), ':'), 8) << v.replay;
}

// Takes an element and gives it back, with a pause in between.
void borrow(bool right) {
  channel<int> tools(2);
  tools.send(1);
  tools.send(2);
  const auto work = [&] {
    const auto tool = tools.receive();
    const auto give_back = [&] {
      scope shielded{.shield = true};
      tools.send(*tool);
    };
    try {
      this_fiber::sleep_for(1ms);
    } catch (const cancelled&) {
      if (right) give_back();
      throw;
    }
    give_back();
  };
  std::vector<fiber> all;
  for (int i = 0; i < 3; ++i) all.push_back(spawn(work));
  scope shielded{.shield = true};
  for (auto& f : all) f.join();
  EXPECT_EQ(tools.size(), 2u);
}

TEST(sim_check, cancels_at_each_call_in_turn) {
  const sim::budget b{
      .schedules = 1000, .failed = [] { return ::testing::Test::HasFailure(); }, .in_turn = sim::fault::cancellation};
  const auto right = sim::check([] { borrow(true); }, b);
  EXPECT_TRUE(right.passed) << right.report;
  EXPECT_GT(right.schedules, 10u);
  EXPECT_LT(right.schedules, 100u);
  const auto wrong = failing([] { borrow(false); }, b);
  EXPECT_NE(wrong.replay.find(",cancel="), std::string::npos) << wrong.replay;
}

TEST(sim_check, exhausts_what_few_departures_can_reach) {
  const sim::budget all{.schedules = 20'000, .how = sim::strategy::exhaustive, .each = {.depth = 2}};
  const auto right = sim::check(
      [] {
        mutex m;
        int total = 0;
        const auto add = [&] {
          const std::lock_guard hold(m);
          this_fiber::yield();
          ++total;
        };
        fiber a = spawn(add), b = spawn(add);
        a.join();
        b.join();
        EXPECT_EQ(total, 2);
      },
      all);
  EXPECT_TRUE(right.passed) << right.report;
  EXPECT_TRUE(right.exhausted);
  EXPECT_GT(right.schedules, 10u);
  const auto wrong = failing(withdraw_twice, all);
  EXPECT_LE(std::count(wrong.replay.begin(), wrong.replay.end(), ':'), 2) << wrong.replay;
}

// Under THRUM_SIM, in a process of its own.
void replay(const std::string& line, const std::function<void()>& program) {
  const auto value = line.substr(line.find('=') + 1);
  ::setenv("THRUM_SIM", value.c_str(), 1);
  try {
    std::exit(sim::check(program).passed ? 0 : 1);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "caught: %s\n", e.what());
    std::exit(7);
  }
}

TEST(sim_check, the_line_replays_the_failure_alone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto v = failing(withdraw_twice);
  EXPECT_EXIT(replay(v.replay, withdraw_twice), ::testing::ExitedWithCode(7), "caught: money was made");
  EXPECT_EXIT(replay("THRUM_SIM=seed=1,at=", withdraw_twice), ::testing::ExitedWithCode(0), "main");
}

TEST(sim_check, a_line_that_cannot_be_read_is_refused_with_one_sentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(replay("THRUM_SIM=seed=x", [] {}), ::testing::ExitedWithCode(7),
              "caught: THRUM_SIM: no number in 'seed=x'");
  EXPECT_EXIT(replay("THRUM_SIM=sed=1", [] {}), ::testing::ExitedWithCode(7), "caught: THRUM_SIM: neither seed, how");
}

TEST(sim_check, finds_deadlocks) {
  const auto v = failing([] {
    mutex m;
    m.lock();
    fiber f = spawn({.name = "stuck"}, [&] { m.lock(); });
    f.join();
  });
  EXPECT_TRUE(says(v, "deadlock: all fibers wait and nothing is left that could wake them"));
  EXPECT_TRUE(says(v, "\"stuck\" (spawned at "));
}

// A ticker goes on beside them, so that there is always somebody to run.
TEST(sim_check, finds_deadlocks_of_some_at_once) {
  const auto v = sim::check([] {
    mutex a, b;
    const auto use = [](mutex& first, mutex& second) {
      std::lock_guard hold(first);
      std::lock_guard hold_too(second);
    };
    go([] {
      for (;;) this_fiber::sleep_for(1ms);
    });
    fiber one = spawn([&] { use(a, b); });
    fiber other = spawn([&] { use(b, a); });
    one.join();
    other.join();
  });
  EXPECT_FALSE(v.passed);
  EXPECT_TRUE(says(v, "deadlock: some can never go on, whatever the others do"));
  EXPECT_TRUE(says(v, "deadlock: each of them waits for the next, and the last for the first\n  fiber "));
}

TEST(sim_check, finds_a_lock_that_nobody_can_unlock_any_more) {
  const auto v = sim::check(
      [] {
        static mutex m;
        event locked;
        fiber careless = spawn([&] {
          m.lock();
          locked.set();
        });
        locked.wait();
        this_fiber::sleep_for(1s);
        fiber waiting = spawn([&] { std::lock_guard own(m); });
        for (int i = 0; i < 1000; ++i) this_fiber::sleep_for(1ms);
      },
      {.schedules = 10});
  EXPECT_FALSE(v.passed);
  EXPECT_TRUE(says(v, "abandoned: whoever held it has ended without unlocking it"));
}

// Cancellation ends it, and the program counts on that.
TEST(sim_check, accuses_nobody_whom_a_deadline_sets_free) {
  const auto v = sim::check([] {
    mutex m;
    scope s{.deadline = 1s};
    s.go([&] {
      fiber inner;  // Whose end is waited for once the lock is given back.
      std::lock_guard hold(m);
      inner = spawn([&] { std::lock_guard own(m); });
      inner.join();
    });
    EXPECT_THROW(s.join(), timed_out);
  });
  EXPECT_TRUE(v.passed) << v.report;
}

TEST(sim_check, finds_programs_without_end) {
  sim::budget b{.schedules = 2};
  b.each.decisions_max = 10'000;
  EXPECT_TRUE(says(failing(
                       [] {
                         for (;;) this_fiber::yield();
                       },
                       b),
                   "the program does not end"));
}

TEST(sim_check, lets_all_run_beside_those_who_wake_each_other_for_ever) {
  const auto v = sim::check(
      [] {
        channel<int> ch(0);
        scope s;
        s.go([&] {
          for (;;) ch.send(1);
        });
        s.go([&] {
          for (;;) (void)ch.receive();
        });
        for (int i = 0; i < 20; ++i) this_fiber::yield();
        s.cancel();
        s.join();
      },
      {.schedules = 200, .each = {.decisions_max = 100'000}});
  EXPECT_TRUE(v.passed) << v.report;
}

TEST(sim_check, finds_fibers_that_will_not_end) {
  const auto v = failing([] {
    go({.name = "stubborn"}, [] {
      scope shielded{.shield = true};
      this_fiber::sleep_for(24h);
    });
    settle();
  });
  EXPECT_TRUE(says(v, "fibers still run after the grace period"));
  EXPECT_TRUE(says(v, "\"stubborn\" (spawned at "));
}

TEST(sim_check, finds_forgotten_fibers_if_asked_to) {
  const auto forgets = [] {
    go({.name = "forgotten"}, [] { (void)channel<int>(0).receive(); });
    settle();
  };
  EXPECT_TRUE(sim::check(forgets, {.schedules = 20}).passed);
  EXPECT_TRUE(says(failing(forgets, {.schedules = 20, .each = {.leaks_fail = true}}), "\"forgotten\" (spawned at "));
}

TEST(sim_check, outlives_crashes_and_hangs) {
  EXPECT_TRUE(says(failing([] { std::raise(SIGKILL); }), "it is ended by signal 9"));
  EXPECT_TRUE(says(failing([] { std::_Exit(0); }), "it ends the process with status 0"));
  EXPECT_TRUE(says(failing(
                       [] {
                         for (;;) asm volatile("");
                       },
                       {.schedules = 1, .shrink = false, .patience = 1s}),
                   "it hangs"));
}

TEST(sim_check, names_what_is_not_simulated) {
  static std::uint64_t runs = 0;
  EXPECT_TRUE(says(failing([] {
                     scope s;
                     for (std::uint64_t i = 0; i <= runs % 2; ++i) s.go([] { this_fiber::yield(); });
                     s.join();
                     ++runs;
                   }),
                   "the same schedule, run twice, was not the same"));
  EXPECT_TRUE(says(failing([] {
                     channel<int> ch(0);
                     std::thread t([&] { std::this_thread::sleep_for(200ms); });
                     t.detach();
                     (void)ch.receive();
                   }),
                   "the program has threads of its own, which are not simulated"));
}

// ---------------------------------------------------------------------------------------------------------------
// The network. That it behaves as the kernel's, the tests of net prove, which run in simulations too.

void echo(net::tcp_stream conn) {
  std::array<std::byte, 16> buffer;
  std::error_code error;
  while (const auto n = conn.read_some(buffer, error)) {
    if (error) return;
    conn.write_all(std::span(buffer).first(n), error);
    if (error) return;
  }
}

// Eight clients; returns how many had their answer whole.
int ask_an_echo_server(bool one_read_is_one_message) {
  auto listener = net::tcp_listener::bind("127.0.0.1:0");
  const auto port = std::to_string(listener.local_port());
  std::atomic<int> whole{0};
  fiber server = spawn([&] {
    for (;;) go([conn = listener.accept()]() mutable { echo(std::move(conn)); });
  });
  scope clients;
  for (int i = 0; i < 8; ++i)
    clients.go([&] {
      std::error_code error;
      auto conn = net::tcp_stream::connect("127.0.0.1:" + port, 0s, error);
      if (!error) conn.write_all(std::as_bytes(std::span("question", 8)), error);
      std::array<std::byte, 8> answer;
      if (!error) {
        const auto n = one_read_is_one_message ? conn.read_some(answer, error) : conn.read_exactly(answer, error);
        if (!error && n == 8) ++whole;
      }
    });
  clients.join();
  server.request_stop();
  server.join();
  return whole;
}

TEST(sim_network, a_server_and_its_clients_talk) {
  const auto v = sim::check([] { EXPECT_EQ(ask_an_echo_server(false), 8); },
                            {.schedules = 100, .failed = [] { return ::testing::Test::HasFailure(); }});
  EXPECT_TRUE(v.passed) << v.report;
}

TEST(sim_network, messages_come_in_pieces) {
  sim::budget b{.schedules = 100, .failed = [] { return ::testing::Test::HasFailure(); }, .shrink = false};
  EXPECT_FALSE(sim::check([] { EXPECT_EQ(ask_an_echo_server(true), 8); }, b).passed);
}

TEST(sim_network, connections_break_when_asked_to) {
  static int whole = 0;
  sim::options o{.one_in_resets = 10};
  for (o.seed = 1; o.seed <= 50; ++o.seed) sim::run(o, [] { whole += ask_an_echo_server(false); });
  EXPECT_GT(whole, 100);
  EXPECT_LT(whole, 390);
}

TEST(sim_network, interrupted_calls_are_made_again) {
  sim::options o{.one_in_interrupted = 3};
  for (o.seed = 1; o.seed <= 50; ++o.seed) sim::run(o, [] { EXPECT_EQ(ask_an_echo_server(false), 8); });
}

TEST(sim_network, far_ends_are_far) {
  const sim::options far{.latency_min = 1s, .latency_max = 1s};
  EXPECT_GE(sim::run(far, [] { ask_an_echo_server(false); }).elapsed, 4s);  // There and back to connect, and to ask.
}

THRUM_SIM_TEST(sim_gtest, a_test_is_a_program) {
  channel<int> ch(1);
  fiber f = spawn([&] { ch.send(42); });
  EXPECT_EQ(ch.receive(), 42);
  f.join();
}

TEST(sim_gtest, an_expectation_that_fails_is_a_failure) {
  const auto result = sim::holds([] { EXPECT_EQ(1, 2); }, {.schedules = 5, .shrink = false});
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("Expected equality of these values"), std::string::npos);
}

}  // namespace
}  // namespace thrum
