// When nothing can run again the process says so and exits with 2; while anything could, it does not.
#include <array>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

#include "crash_support.hpp"

namespace thrum {
namespace crash_deadlock_test {

using namespace test;

[[gnu::noinline]] void wait_for_the_lock(mutex& m) {
  m.lock();
  asm volatile("" ::: "memory");  // No tail call: the stack is to show us.
}

namespace {

constexpr const char* headline = "^thrum: fatal: deadlock: all fibers wait and nothing is left that could wake them\n";
constexpr auto a_while = 600ms;  // Several times as long as a deadlock takes to be found.

void expect_deadlock(const death& d, std::initializer_list<std::string> lines) {
  EXPECT_EQ(how(d), 2) << d.errors;
  EXPECT_TRUE(says(d, headline)) << d.errors;
  for (const auto& line : lines) EXPECT_TRUE(says(d, line)) << line << "\n" << d.errors;
}

void expect_no_deadlock(const scenario& s) {
  const auto d = run_scenario(s);
  EXPECT_EQ(how(d), 7) << d.errors;
  EXPECT_EQ(d.errors, "");
}

const scenario everything("everything", [] {
  run({.workers = 2}, [] {
    static mutex m;
    channel<int> ch(1), none;
    condition_variable changed;
    ch.send(1);
    go({.name = "holder"}, [&] {
      m.lock();
      (void)none.receive();
    });
    until_the_others_wait();
    go({.name = "locker"}, [&] { wait_for_the_lock(m); });
    go({.name = "sender"}, [&] { ch.send(2); });
    go({.name = "chooser"}, [&] { select(none.on_receive([](auto) {}), ch.on_send(1, [] {})); });
    go({.name = "listener"}, [&] {
      mutex own;
      std::unique_lock hold(own);
      changed.wait(hold);
    });
    fiber locked = spawn({.name = "joiner"}, [&] {
      fiber inner = spawn({.name = "inner"}, [&] { (void)none.receive(); });
      inner.join();
    });
    wait_group(1).wait();
  });
});
TEST(deadlock, lists_each_fiber_with_what_it_waits_for_who_holds_it_and_its_stack) {
  expect_deadlock(
      run_scenario(everything),
      {fiber_pattern("holder") + " waits for a null channel\n" + stack_pattern,
       fiber_pattern("locker") + " waits for a mutex 0x[0-9a-f]+, held by fiber [0-9]+ \"holder\"\n" + stack_pattern,
       "    #[0-9]+ [^\n]*wait_for_the_lock[^\n]*\n",
       fiber_pattern("sender") + " waits for sending on a channel 0x[0-9a-f]+\n" + stack_pattern,
       fiber_pattern("chooser") + " waits for a select\n" + stack_pattern,
       fiber_pattern("listener") + " waits for a condition variable 0x[0-9a-f]+\n" + stack_pattern,
       fiber_pattern("joiner") + " waits for the end of a fiber 0x[0-9a-f]+, held by fiber [0-9]+ \"inner\"\n",
       fiber_pattern() + " waits for a wait group 0x[0-9a-f]+\n" + stack_pattern});
}

const scenario crossed("crossed", [] {
  run({.workers = 2}, [] {
    static mutex a, b;
    latch both(2);
    const auto lock = [&](mutex& first, mutex& second) {
      std::lock_guard hold(first);
      both.arrive_and_wait();
      std::lock_guard hold_too(second);
    };
    fiber left = spawn({.name = "left"}, [&] { lock(a, b); });
    fiber right = spawn({.name = "right"}, [&] { lock(b, a); });
    left.join();
    right.join();
  });
});
TEST(deadlock, shows_the_cycle_first) {
  expect_deadlock(
      run_scenario(crossed),
      {std::string(headline).substr(1) +
       "deadlock: each of them waits for the next, and the last for the first\n  fiber [^\n]* waits for a mutex "
       "0x[0-9a-f]+\n  fiber [^\n]* waits for a mutex 0x[0-9a-f]+\n  and behind them fiber "});
}

const scenario one_worker("one_worker", [] { run({.workers = 1}, [] { channel<int>(0).send(1); }); });
TEST(deadlock, is_found_with_one_worker) { expect_deadlock(run_scenario(one_worker), {}); }

const scenario many_workers("many_workers", [] {
  run({.workers = 16}, [] {
    scope s;
    for (int i = 0; i < 100; ++i) s.go([] { (void)channel<int>(0).receive(); });
    s.join();
  });
});
TEST(deadlock, is_found_with_many_workers) {
  expect_deadlock(run_scenario(many_workers), {fiber_pattern() + " waits for the children of a scope 0x"});
}

const scenario held_by_thread("held_by_thread", [] {
  static mutex m;
  m.lock();
  run({.workers = 1}, [] { m.lock(); });
});
TEST(deadlock, a_mutex_that_a_waiting_thread_holds) {
  const auto d = run_scenario(held_by_thread);
  expect_deadlock(d, {" waits for a mutex 0x[0-9a-f]+, held by thread [0-9]+\n"});
}

const scenario several_threads("several_threads", [] {
  static channel<int> ch(0);
  std::thread t([] { (void)ch.receive(); });
  t.detach();
  run({.workers = 2}, [] { (void)ch.receive(); });
});
TEST(deadlock, threads_that_wait_themselves_wake_nobody) { expect_deadlock(run_scenario(several_threads), {}); }

const scenario inert("inert", [] {
  std::thread t([] {
    inert_thread mark;
    std::this_thread::sleep_for(24h);
  });
  t.detach();
  run({.workers = 2}, [] { (void)channel<int>(0).receive(); });
});
TEST(deadlock, is_found_beside_a_thread_that_has_declared_itself_inert) { expect_deadlock(run_scenario(inert), {}); }

const scenario unattended_ticker("unattended_ticker", [] {
  run({.workers = 2}, [] {
    ticker every(1ms);
    (void)every.receive();
    (void)channel<int>(0).receive();
  });
});
TEST(deadlock, is_found_beside_a_ticker_that_nobody_waits_for) {
  expect_deadlock(run_scenario(unattended_ticker), {" waits for receiving from a channel 0x"});
}

const scenario idle_pool("idle_pool", [] {
  run({.workers = 2}, [] {
    blocking([] {});
    (void)channel<int>(0).receive();
  });
});
TEST(deadlock, is_found_beside_idle_threads_of_the_pool) { expect_deadlock(run_scenario(idle_pool), {}); }

// The thread is busy while the fibers come to rest, and only then waits, or ends.
const scenario waits_later("waits_later", [] {
  static channel<int> ch(0);
  std::thread t([] {
    std::this_thread::sleep_for(a_while);
    (void)ch.receive();
  });
  t.detach();
  run({.workers = 2}, [] { (void)ch.receive(); });
});
TEST(deadlock, is_found_when_the_last_thread_that_could_help_waits_itself) {
  expect_deadlock(run_scenario(waits_later), {});
}
const scenario ends_later("ends_later", [] {
  std::thread t([] { std::this_thread::sleep_for(a_while); });
  t.detach();
  run({.workers = 2}, [] { (void)channel<int>(0).receive(); });
});
TEST(deadlock, is_found_when_the_last_thread_that_could_help_ends) { expect_deadlock(run_scenario(ends_later), {}); }

const scenario thread_wakes("thread_wakes", [] {
  channel<int> ch(0);
  std::thread t([&] {
    std::this_thread::sleep_for(a_while);
    ch.send(7);
  });
  const int status = run({.workers = 2}, [&] { return *ch.receive(); });
  t.join();
  std::exit(status);
});
TEST(no_deadlock, while_a_thread_could_still_wake_somebody) { expect_no_deadlock(thread_wakes); }

const scenario descriptor_wakes("descriptor_wakes", [] {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::exit(1);
  std::thread t([&] {
    inert_thread mark;  // It wakes nobody but through the descriptor.
    std::this_thread::sleep_for(a_while);
    if (::write(ends[1], "x", 1) != 1) std::exit(1);
  });
  const int status = run({.workers = 2}, [&] {
    auto s = net::tcp_stream::adopt(ends[0]);
    std::array<std::byte, 1> one;
    return s.read_some(one) == 1 ? 7 : 1;
  });
  t.join();
  std::exit(status);
});
TEST(no_deadlock, while_a_descriptor_is_waited_for) { expect_no_deadlock(descriptor_wakes); }

const scenario timer_wakes("timer_wakes", [] {
  std::exit(run({.workers = 2}, [] {
    scope s{.deadline = a_while};
    try {
      (void)channel<int>(0).receive();
    } catch (const cancelled&) {
      return 7;
    }
    return 1;
  }));
});
TEST(no_deadlock, while_a_timer_runs) { expect_no_deadlock(timer_wakes); }

const scenario ticker_wakes("ticker_wakes",
                            [] { std::exit(run({.workers = 2}, [] { return ticker(a_while).receive() ? 7 : 1; })); });
TEST(no_deadlock, while_somebody_waits_for_a_ticker) { expect_no_deadlock(ticker_wakes); }

// The continuation's fiber has not started yet.
const scenario continuation_waits("continuation_waits", [] {
  promise<int> p;
  std::thread t([&] {
    inert_thread mark;
    std::this_thread::sleep_for(a_while);
    p.set_value(6);
  });
  const int status = run({.workers = 2}, [&] { return p.get_future().then([](int v) { return v + 1; }).get(); });
  t.join();
  std::exit(status);
});
TEST(no_deadlock, while_the_fiber_of_a_then_has_not_started) { expect_no_deadlock(continuation_waits); }

const scenario system_call("system_call", [] {
  std::exit(run({.workers = 2}, [] {
    channel<int> ch(0);
    go([&] {
      std::this_thread::sleep_for(a_while);  // Blocks its thread without a word to the runtime.
      ch.send(7);
    });
    return *ch.receive();
  }));
});
TEST(no_deadlock, while_a_fiber_sits_in_a_system_call) { expect_no_deadlock(system_call); }

const scenario offloaded_call("offloaded_call", [] {
  std::exit(run({.workers = 2}, [] {
    channel<int> ch(0);
    fiber f = spawn([&] {
      blocking([&] {
        std::this_thread::sleep_for(a_while);
        ch.send(7);
      });
    });
    return *ch.receive();
  }));
});
TEST(no_deadlock, while_an_offloaded_call_runs) { expect_no_deadlock(offloaded_call); }

const scenario idle_runtime("idle_runtime", [] {
  runtime rt({.workers = 2});
  std::this_thread::sleep_for(a_while);
  std::exit(rt.run([] { return 7; }));
});
TEST(no_deadlock, in_a_runtime_without_fibers) { expect_no_deadlock(idle_runtime); }

const scenario two_runtimes("two_runtimes", [] {
  runtime other({.workers = 1});
  channel<int> ch(0);
  other.go([&] {
    this_fiber::sleep_for(a_while);
    ch.send(7);
  });
  std::exit(run({.workers = 1}, [&] { return *ch.receive(); }));
});
TEST(no_deadlock, while_another_runtime_could_wake_somebody) { expect_no_deadlock(two_runtimes); }

}  // namespace
}  // namespace crash_deadlock_test
}  // namespace thrum
