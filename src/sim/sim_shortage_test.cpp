// Memory, and room for fibers, that run out, at each place in turn: that it is found, and that thrum's own calls then
// do what they promise: the exception arrives where it can be caught, and nothing is lost, doubled or left waiting.
#include <thrum/sim_allocations.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <thrum/sim_gtest.hpp>
#include <thrum/sim_network.hpp>
#include <thrum/task.hpp>
#include <thrum/thrum.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class sim_allocations : public ::testing::Test {
 protected:
  void SetUp() override {
    if (under_tsan) GTEST_SKIP() << "ThreadSanitizer has operators of its own";
  }
};

sim::budget each_in_turn(sim::fault f = sim::fault::allocation) { return {.schedules = 2000, .in_turn = f}; }

// Runs f(); false when there was no memory, or no room for a fiber.
template <class F>
bool done(F f) {
  try {
    f();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  } catch (const std::system_error& e) {
    if (e.code() != std::errc::resource_unavailable_try_again) throw;
    return false;
  }
}

// One allocation, which the compiler does not leave out.
void use_memory() {
  const auto memory = std::make_unique<int>(1);
  asm volatile("" : : "r"(memory.get()) : "memory");
}

TEST_F(sim_allocations, each_fails_in_turn) {
  const auto v = sim::check(
      [] {
        use_memory();
        use_memory();
        fiber f = spawn([] { (void)done(use_memory); });
        f.join();
      },
      each_in_turn());
  EXPECT_TRUE(v.passed) << v.report;
  EXPECT_EQ(v.schedules, 4u);  // As it is, and with each of the three.
}

TEST_F(sim_allocations, a_program_that_loses_something_is_found) {
  static int held = 0;
  const auto program = [] {
    held = 0;
    ++held;
    use_memory();
    --held;
  };
  sim::budget b = each_in_turn();
  b.failed = [] { return held != 0; };
  const auto v = sim::check(program, b);
  EXPECT_FALSE(v.passed);
  EXPECT_NE(v.replay.find(",no_memory=1"), std::string::npos) << v.replay;
}

TEST(sim_starts, each_fails_in_turn) {
  const auto program = [] {
    fiber f = spawn([] {});
    f.join();
    scope s;
    for (int i = 0; i < 2; ++i) s.go([] {});
    s.join();
  };
  const auto v = sim::check(program, each_in_turn(sim::fault::start));
  EXPECT_TRUE(v.passed) << v.report;
  EXPECT_EQ(v.schedules, 4u);
  static int started = 0;
  sim::budget b = each_in_turn(sim::fault::start);
  b.failed = [] { return started == 2; };
  const auto lossy = sim::check(
      [] {
        started = 0;
        for (int i = 0; i < 3; ++i) started += done([] { spawn([] {}).join(); });
      },
      b);
  EXPECT_FALSE(lossy.passed);
  EXPECT_NE(lossy.replay.find(",no_start=1"), std::string::npos) << lossy.replay;
}

TEST_F(sim_allocations, what_is_thrown_otherwise_is_a_failure_still) {
  EXPECT_FALSE(sim::check([] { throw std::runtime_error("no"); }, each_in_turn()).passed);
  EXPECT_FALSE(sim::check([] { throw std::bad_alloc(); }, {.schedules = 2}).passed);
}

// ---------------------------------------------------------------------------------------------------------------
// thrum's own.

class shortage : public ::testing::TestWithParam<sim::fault> {
 protected:
  void SetUp() override {
    if (under_tsan && GetParam() == sim::fault::allocation) GTEST_SKIP() << "ThreadSanitizer has operators of its own";
  }
};
INSTANTIATE_TEST_SUITE_P(of, shortage, ::testing::Values(sim::fault::allocation, sim::fault::start),
                         [](const auto& of) { return of.param == sim::fault::allocation ? "memory" : "room"; });

TEST_P(shortage, fibers_and_scopes) {
  EXPECT_TRUE(sim::holds(
      [] {
        std::array<char, 1000> large{};  // Its closure does not fit into the fiber.
        int started = 0, ran = 0;
        for (int i = 0; i < 3; ++i)
          started += done([&] { spawn({.name = "one"}, [&ran, large] { ran += 1 + large[0]; }).join(); });
        EXPECT_EQ(ran, started);
        ran = started = 0;
        (void)done([&] {
          scope s;
          for (int i = 0; i < 3; ++i) {
            s.go([&ran, large] { ran += 1 + large[0]; });
            ++started;
          }
          s.join();
          EXPECT_EQ(ran, 3);
        });
        EXPECT_LE(ran, started);
        scope failing;
        if (!done([&] { failing.go(use_memory); })) return;
        (void)done([&] { failing.join(); });
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, values_of_fibers) {
  static context_key<std::string> user;
  static fiber_local<std::string> mine;
  EXPECT_TRUE(sim::holds(
      [] {
        const std::string name(100, 'x');
        (void)done([&] {
          context_value as(user, name);
          EXPECT_EQ(user.get(), name);
          spawn([&] {
            EXPECT_EQ(user.get(), name);
            (void)done([&] { *mine = name; });
          }).join();
          EXPECT_EQ(user.get(), name);
        });
        EXPECT_EQ(user.find(), nullptr);
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, channels) {
  EXPECT_TRUE(sim::holds(
      [] {
        channel<std::string> ch(unbounded);
        int sent = 0;
        for (int i = 0; i < 40; ++i) sent += done([&] { ch.send(std::string(100, 'x')); });
        EXPECT_GE(sent, 39);
        int received = 0;
        fiber f = spawn([&] {
          while (auto s = ch.receive()) received += s->size() == 100;
        });
        ch.close();
        f.join();
        EXPECT_EQ(received, sent);
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, selects_and_timers) {
  EXPECT_TRUE(sim::holds(
      [] {
        channel<int> ch(0);
        scope s;
        s.go([&] {
          for (int i = 0; i < 5; ++i) ch.send(i);
        });
        int got = 0;
        while (got < 5)
          (void)done([&] {
            ticker every(10ms);
            std::vector<std::unique_ptr<int>> some;
            select(ch.on_receive([&](auto) { ++got; }), every.on_receive([](auto) {}), after(1ms, [] {}));
          });
        s.join();
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, futures) {
  EXPECT_TRUE(sim::holds(
      [] {
        (void)done([] {
          promise<int> p;
          auto doubled = p.get_future().then([](int x) { return 2 * x; });
          auto other = async([] {
            use_memory();
            return 3;
          });
          p.set_value(1);
          auto both = when_all(std::move(doubled), std::move(other));
          auto [a, b] = both.get();
          EXPECT_EQ(a.get() + b.get(), 5);
        });
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, pools_and_bounded_work) {
  EXPECT_TRUE(sim::holds(
      [] {
        std::vector<int> parts(6);
        std::iota(parts.begin(), parts.end(), 1);
        int total = 0;
        if (done([&] { for_each_concurrent(parts, 2, [&](int i) { total += i; }); })) EXPECT_EQ(total, 21);
        (void)done([&] {
          worker_pool pool({.fibers = 2, .queue = 3});
          int ran = 0, submitted = 0;
          try {
            for (int i = 0; i < 5; ++i) submitted += done([&] { pool.submit([&] { ++ran; }); });
          } catch (const worker_pool_closed&) {  // It had no memory for its own fibers, as join() tells.
          }
          pool.join();
          EXPECT_EQ(ran, submitted);
        });
      },
      each_in_turn(GetParam())));
}

task<int> doubled(int x) {
  co_await async_yield();
  co_return 2 * x;
}

TEST_P(shortage, tasks) {
  EXPECT_TRUE(sim::holds(
      [] {
        int total = 0, started = 0;
        for (int i = 0; i < 5; ++i) started += done([&] { total += spawn(doubled(i)).join(); });
        EXPECT_GE(started, 4);
        EXPECT_GE(total, 12);
      },
      each_in_turn(GetParam())));
}

TEST_P(shortage, sockets) {
  EXPECT_TRUE(sim::holds(
      [] {
        (void)done([] {
          auto listener = net::tcp_listener::bind("127.0.0.1:0");
          scope s;
          s.go([&] {
            auto c = listener.accept();
            std::array<std::byte, 4> question;
            c.read_exactly(question);
            c.write_all(question);
          });
          auto c = net::tcp_stream::connect("127.0.0.1:" + std::to_string(listener.local_port()));
          std::array<std::byte, 4> answer{};
          c.write_all(answer);
          c.read_exactly(answer);
          s.join();
        });
      },
      each_in_turn(GetParam())));
}

}  // namespace
}  // namespace thrum
