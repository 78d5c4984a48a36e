// thrum::run and runtime inside a simulated program: what runtime.hpp promises holds there, too.
#include <thrum/runtime.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <thrum/sim.hpp>
#include <thrum/sim_gtest.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// Waits until it is cancelled, and counts that.
void wait_for_cancellation(int& counter) {
  try {
    this_fiber::sleep_for(24h);
  } catch (const cancelled&) {
    ++counter;
    throw;
  }
}

// With few schedules: these promises do not depend on the order.
#define THRUM_GUEST_TEST(name)                                                          \
  static void guest_##name();                                                           \
  TEST(sim_guest, name) { EXPECT_TRUE(sim::holds(&guest_##name, {.schedules = 100})); } \
  static void guest_##name()

THRUM_GUEST_TEST(returns_and_throws_what_the_main_function_does) {
  EXPECT_EQ(thrum::run([] { return 7; }), 7);
  EXPECT_EQ(thrum::run([] {}), 0);
  EXPECT_EQ(thrum::run({.workers = 2}, [] { return std::string("text"); }), "text");
  EXPECT_EQ(*thrum::run([] { return std::make_unique<int>(3); }), 3);
  EXPECT_THROW(thrum::run([] { throw std::runtime_error("main"); }), std::runtime_error);
  EXPECT_THROW(thrum::run([]() -> int { throw 5; }), int);
}

THRUM_GUEST_TEST(shares_the_time_and_the_thread_of_the_simulation) {
  const auto began = clock::now();
  const auto thread = std::this_thread::get_id();
  thrum::run([&] {
    EXPECT_TRUE(this_fiber::in_fiber());
    EXPECT_EQ(std::this_thread::get_id(), thread);
    this_fiber::sleep_for(24h);
  });
  EXPECT_GE(clock::now() - began, 24h);
  EXPECT_LT(clock::now() - began, 25h);
}

THRUM_GUEST_TEST(cancels_its_own_fibers_at_the_end_and_no_others) {
  int of_the_guest = 0, of_others = 0;
  fiber other = spawn([&] { wait_for_cancellation(of_others); });
  thrum::run([&] {
    for (int i = 0; i < 3; ++i) {
      go([&] { wait_for_cancellation(of_the_guest); });
      go([&] {
        fiber child = spawn([&] { wait_for_cancellation(of_the_guest); });
        child.join();
      });
    }
    this_fiber::sleep_for(1s);
  });
  EXPECT_EQ(of_the_guest, 6);
  EXPECT_EQ(of_others, 0);
}

// Through scopes, tasks, and fibers that are cancelled already.
THRUM_GUEST_TEST(a_child_of_its_fibers_is_its_own_however_it_is_started) {
  int ended = 0;
  thrum::run([&] {
    go([&]() -> task<> {
      const struct at_end {
        int& counter;
        ~at_end() { ++counter; }
      } counts{ended};
      go([&] { wait_for_cancellation(ended); });
      co_await async_sleep_for(24h);
    });
    go([&] {
      scope s;
      s.go([&] { wait_for_cancellation(ended); });
      s.join();
    });
    go([&] {
      try {
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        go([&] { wait_for_cancellation(ended); });
      }
    });
    this_fiber::sleep_for(1s);
  });
  EXPECT_EQ(ended, 4);
}

THRUM_GUEST_TEST(cancels_what_remains_also_when_the_main_function_throws) {
  int ended = 0;
  EXPECT_THROW(thrum::run([&] {
                 go([&] { wait_for_cancellation(ended); });
                 this_fiber::sleep_for(1s);
                 throw 1;
               }),
               int);
  EXPECT_EQ(ended, 1);
}

THRUM_GUEST_TEST(is_cancelled_with_the_fiber_that_runs_it) {
  int ended = 0;
  fiber process = spawn([&] {
    thrum::run([&] {
      go([&] { wait_for_cancellation(ended); });
      wait_for_cancellation(ended);
    });
  });
  this_fiber::sleep_for(1s);
  process.request_stop();
  process.join();
  EXPECT_EQ(ended, 2);
}

THRUM_GUEST_TEST(a_runtime_is_an_object) {
  runtime rt({.workers = 4});
  EXPECT_EQ(rt.workers(), 1u);
  EXPECT_EQ(rt.stats().fibers, 0u);
  std::atomic<bool> go_on{false};
  rt.go([&] {
    while (!go_on) this_fiber::sleep_for(1ms);
  });
  fiber f = rt.spawn([] { this_fiber::sleep_for(1ms); });
  EXPECT_EQ(rt.stats().fibers, 2u);
  f.join();
  EXPECT_EQ(rt.run([&] { return rt.stats().fibers; }), 2u);
  go_on = true;
  EXPECT_EQ(rt.run([] { return 1; }), 1);
  this_fiber::sleep_for(1s);
  EXPECT_EQ(rt.stats().fibers, 0u);
}

THRUM_GUEST_TEST(several_keep_to_themselves) {
  int mine = 0, others = 0;
  channel<int> there(0), back(0);
  runtime a({.workers = 1});
  {
    runtime b({.workers = 2});
    a.go([&] { wait_for_cancellation(mine); });
    b.go([&] { wait_for_cancellation(others); });
    fiber echo = a.spawn([&] {
      for (int v : there) back.send(v + 1);
    });
    b.run([&] {
      for (int i = 0; i < 5; ++i) {
        there.send(i);
        EXPECT_EQ(back.receive(), i + 1);
      }
      there.close();
    });
    echo.join();
  }
  EXPECT_EQ(mine, 0);
  EXPECT_EQ(others, 1);
}

THRUM_GUEST_TEST(one_may_run_another) {
  int inner = 0, outer = 0;
  thrum::run([&] {
    go([&] { wait_for_cancellation(outer); });
    EXPECT_EQ(thrum::run([&] {
                go([&] { wait_for_cancellation(inner); });
                this_fiber::sleep_for(1s);
                return 11;
              }),
              11);
    EXPECT_EQ(inner, 1);
    EXPECT_EQ(outer, 0);
    this_fiber::sleep_for(1s);
  });
  EXPECT_EQ(outer, 1);
}

THRUM_GUEST_TEST(has_room_for_as_many_fibers_as_it_was_given) {
  thrum::run({.fibers_max = 3}, [] {
    fiber a = spawn([] {}), b = spawn([] {});
    EXPECT_THROW((void)spawn([] {}), std::system_error);
    a.join();
    spawn([] {}).join();
    b.join();
  });
}

// Whoever makes the first call that may suspend is cancelled there, then the second, and so on.
TEST(sim_guest, leaves_nothing_behind_whoever_is_cancelled_wherever) {
  const auto program = [] {
    int started = 0, ended = 0;
    const auto work = [&] {
      ++started;
      const struct at_end {
        int& counter;
        ~at_end() { ++counter; }
      } counts{ended};
      this_fiber::sleep_for(1ms);
    };
    try {
      thrum::run([&] {
        go(work);
        go([&]() -> task<> {
          go(work);
          co_await async_sleep_for(2ms);
          go(work);
        });
        this_fiber::sleep_for(3ms);
        spawn(work).join();
      });
    } catch (const cancelled&) {
    }
    EXPECT_EQ(ended, started);
  };
  const auto v = sim::check(
      program,
      {.schedules = 1000, .failed = [] { return ::testing::Test::HasFailure(); }, .in_turn = sim::fault::cancellation});
  EXPECT_TRUE(v.passed) << v.report;
  EXPECT_GT(v.schedules, 5u);
}

context_key<int> request;

THRUM_GUEST_TEST(inherits_the_values_of_the_context) {
  context_value mine(request, 9);
  thrum::run([] {
    EXPECT_EQ(request.get(), 9);
    spawn([] { EXPECT_EQ(request.get(), 9); }).join();
  });
}

THRUM_GUEST_TEST(a_server_and_a_client_are_two_programs) {
  promise<std::uint16_t> announced;
  auto port = announced.get_future();
  fiber server = spawn([&] {
    thrum::run([&] {
      auto listener = net::tcp_listener::bind("127.0.0.1:0");
      announced.set_value(listener.local_port());
      for (;;)
        go([conn = listener.accept()]() mutable {
          std::array<std::byte, 8> question;
          conn.read_exactly(question);
          conn.write_all(question);
        });
    });
  });
  const std::string address = "127.0.0.1:" + std::to_string(port.get());
  thrum::run([&] {
    scope clients;
    for (int i = 0; i < 4; ++i)
      clients.go([&] {
        auto conn = net::tcp_stream::connect(address);
        conn.write_all(std::as_bytes(std::span("question", 8)));
        std::array<std::byte, 8> answer;
        conn.read_exactly(answer);
        EXPECT_EQ(std::memcmp(answer.data(), "question", 8), 0);
      });
    clients.join();
  });
}

// ---------------------------------------------------------------------------------------------------------------
// What goes wrong.

std::string report_of(const std::function<void()>& program) {
  const auto v = sim::check(program, {.schedules = 20, .shrink = false});
  EXPECT_FALSE(v.passed);
  return v.report;
}

TEST(sim_guest, who_survives_the_grace_period_is_named) {
  const auto report = report_of([] {
    thrum::run({.grace = 1s}, [] {
      go({.name = "stubborn"}, [] {
        scope shielded{.shield = true};
        this_fiber::sleep_for(24h);
      });
      this_fiber::sleep_for(1s);
    });
  });
  EXPECT_NE(report.find("fibers of a runtime still run after its grace period"), std::string::npos) << report;
  EXPECT_NE(report.find("\"stubborn\" (spawned at "), std::string::npos) << report;
  EXPECT_NE(report.find("THRUM_SIM=seed="), std::string::npos) << report;
}

TEST(sim_guest, a_deadlock_is_everybodys) {
  const auto report = report_of([] {
    thrum::run([] {
      mutex m;
      m.lock();
      spawn({.name = "stuck"}, [&] { m.lock(); }).join();
    });
  });
  EXPECT_NE(report.find("deadlock: all fibers wait"), std::string::npos) << report;
  EXPECT_NE(report.find("\"stuck\" (spawned at "), std::string::npos) << report;
}

TEST(sim_guest, is_refused_to_tasks_which_could_not_wait_for_it) {
  const auto report = report_of([] { spawn([]() -> task<> { co_return void(thrum::run([] {})); }()).join(); });
  EXPECT_NE(report.find("a task called a function that blocks"), std::string::npos) << report;
}

TEST(sim_guest, is_of_no_use_outside_of_its_simulation) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const char* sentence = "a runtime that was made in a simulated program is used outside of it";
  const auto by_a_thread = [] {
    runtime rt;
    std::thread([&] { rt.go([] {}); }).join();
  };
  EXPECT_DEATH(sim::run({}, by_a_thread), sentence);
  std::optional<runtime> kept;
  const auto after_the_end = [&] {
    sim::run({}, [&] { kept.emplace(); });
    sim::run({}, [&] { kept->go([] {}); });
  };
  EXPECT_DEATH(after_the_end(), sentence);
}

TEST(sim_guest, stacks_are_the_simulations) {
  const auto program = [] { thrum::run({.stack_size = 1 << 20}, [] {}); };
  EXPECT_THROW(sim::run({}, program), std::invalid_argument);
  sim::run({.stack_size = 1 << 20}, program);
}

TEST(sim_guest, equal_options_have_equal_traces) {
  const auto program = [] {
    runtime other;
    channel<int> ch(1);
    other.go([&] {
      for (int i = 0; i < 20; ++i) ch.send(i);
    });
    thrum::run([&] {
      for (int i = 0; i < 20; ++i) {
        go([] { this_fiber::sleep_for(1ms); });
        (void)ch.receive();
      }
    });
  };
  const auto first = sim::run({.seed = 5}, program);
  EXPECT_GT(first.decisions, 20u);
  EXPECT_EQ(first, sim::run({.seed = 5}, program));
  EXPECT_NE(first, sim::run({.seed = 6}, program));
}

TEST(sim_guest, threads_that_run_no_fiber_have_runtimes_of_their_own) {
  std::thread::id mine, its;
  sim::run({}, [&] {
    mine = std::this_thread::get_id();
    std::thread([&] { thrum::run([&] { its = std::this_thread::get_id(); }); }).join();
  });
  EXPECT_NE(mine, its);
}

}  // namespace
}  // namespace thrum
