// Sets of signals: every set gets each, none is lost, and what was there before is back. For fibers, tasks and plain
// threads.
#include <thrum/signal_set.hpp>

#include <atomic>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include <thrum/process.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

void send_to_us(int signal) { ASSERT_EQ(::kill(::getpid(), signal), 0); }

using plain_handler = void (*)(int);
plain_handler handler_of(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
}

class signal_set_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, signal_set_test, worker_counts, count_name);

TEST_P(signal_set_test, a_signal_is_received) {
  run([] {
    signal_set s{SIGUSR1, SIGUSR2};
    EXPECT_EQ(s.try_receive(), std::nullopt);
    send_to_us(SIGUSR2);
    EXPECT_EQ(s.receive(), SIGUSR2);
    send_to_us(SIGUSR1);
    EXPECT_EQ(s.receive_for(hang_guard), SIGUSR1);
    EXPECT_EQ(s.receive_for(1ms), std::nullopt);
    EXPECT_EQ(s.receive_until(clock::now()), std::nullopt);
  });
}

TEST_P(signal_set_test, every_set_gets_it) {
  run([] {
    signal_set one{SIGUSR1}, two{SIGUSR1, SIGUSR2};
    send_to_us(SIGUSR1);
    EXPECT_EQ(one.receive(), SIGUSR1);
    EXPECT_EQ(two.receive(), SIGUSR1);
    { signal_set three{SIGUSR1}; }
    send_to_us(SIGUSR1);
    EXPECT_EQ(one.receive(), SIGUSR1);
    EXPECT_EQ(two.receive(), SIGUSR1);
  });
}

TEST_P(signal_set_test, many_of_a_kind_merge_and_the_last_is_never_lost) {
  run([] {
    signal_set s{SIGUSR1, SIGUSR2};
    for (int i = 0; i < 1000; ++i) send_to_us(SIGUSR1);
    send_to_us(SIGUSR2);
    int ones = 0;
    std::optional<int> n;
    while ((n = s.receive()) == SIGUSR1) ++ones;
    EXPECT_EQ(n, SIGUSR2);
    EXPECT_GE(ones + (s.receive_for(20ms) == SIGUSR1), 1);
    // Each is received after it was sent, however often that is.
    for (int i = 0; i < 100; ++i) {
      while (s.try_receive()) {
      }
      send_to_us(SIGUSR1);
      EXPECT_EQ(s.receive(), SIGUSR1);
    }
  });
}

TEST_P(signal_set_test, tasks_receive_likewise) {
  run([] {
    const auto body = []() -> task<> {
      signal_set s{SIGUSR1};
      auto n = co_await s.async_receive_for(1ms);
      EXPECT_EQ(n, std::nullopt);
      send_to_us(SIGUSR1);
      n = co_await s.async_receive();
      EXPECT_EQ(n, SIGUSR1);
      send_to_us(SIGUSR1);
      n = co_await s.async_receive_until(clock::now() + hang_guard);
      EXPECT_EQ(n, SIGUSR1);
      channel<int> never(0);
      send_to_us(SIGUSR1);
      co_await async_select(never.on_receive([](auto) {}), s.on_receive([&](std::optional<int> got) { n = got; }));
      EXPECT_EQ(n, SIGUSR1);
    };
    spawn(body()).join();
  });
}

TEST_P(signal_set_test, select_waits_for_one) {
  run([] {
    signal_set s{SIGUSR1};
    channel<int> jobs(1);
    jobs.send(1);
    int got = 0;
    select(jobs.on_receive([&](auto j) { got = *j; }), s.on_receive([&](auto n) { got = *n; }));
    EXPECT_EQ(got, 1);
    for (int i = 0; i < 3; ++i) {
      got = 0;
      send_to_us(SIGUSR1);
      select(jobs.on_receive([&](auto j) { got = *j; }), s.on_receive([&](auto n) { got = *n; }));
      EXPECT_EQ(got, SIGUSR1);
    }
  });
}

TEST_P(signal_set_test, cancellation_ends_a_wait_and_takes_nothing) {
  run([] {
    signal_set s{SIGUSR1};
    const std::vector<std::function<void()>> calls{
        [&] { s.receive(); },
        [&] { s.receive_for(1000s); },
        [&] { select(s.on_receive([](auto) {})); },
        [&] {
          const auto body = [&]() -> task<> { co_await s.async_receive(); };
          spawn(body()).join();
        },
    };
    for (const auto& call : calls) {
      bool was_cancelled = false;
      fiber f = spawn([&] {
        try {
          call();
        } catch (const cancelled&) {
          was_cancelled = true;
        }
      });
      settle();
      f.request_stop();
      f.join();
      EXPECT_TRUE(was_cancelled);
    }
    send_to_us(SIGUSR1);
    EXPECT_EQ(s.receive(), SIGUSR1);
  });
}

TEST_P(signal_set_test, a_task_that_is_cancelled_takes_nothing) {
  run([] {
    signal_set s{SIGUSR1};
    bool was_cancelled = false;
    const auto body = [&]() -> task<> {
      try {
        co_await s.async_receive();
      } catch (const cancelled&) {
        was_cancelled = true;
      }
    };
    auto t = spawn(body());
    settle();
    t.request_stop();
    t.join();
    EXPECT_TRUE(was_cancelled);
    send_to_us(SIGUSR1);
    EXPECT_EQ(s.receive(), SIGUSR1);
  });
}

TEST_P(signal_set_test, stopping_ends_those_who_receive) {
  run([] {
    signal_set s{SIGUSR1};
    std::atomic<int> got = 0;
    fiber f = spawn([&] {
      for ([[maybe_unused]] const int n : s) ++got;
    });
    send_to_us(SIGUSR1);
    EXPECT_TRUE(eventually([&] { return got == 1; }));
    s.stop();
    s.stop();
    f.join();
    EXPECT_EQ(got, 1);
    EXPECT_EQ(s.receive(), std::nullopt);
  });
}

TEST_P(signal_set_test, a_child_ends_and_the_set_hears_of_it) {
  run([] {
    signal_set s{SIGCHLD};
    EXPECT_EQ(run_process({"echo", "done"}).output, "done\n");
    EXPECT_EQ(s.receive(), SIGCHLD);
  });
}

TEST_P(signal_set_test, sets_come_and_go_while_signals_arrive) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer loses a thread's signal mask when a handler interrupts another";
  run([] {
    signal_set keeps{SIGUSR1};  // So that none ends the program.
    std::atomic<bool> done{false};
    std::thread sender([&] {
      while (!done) send_to_us(SIGUSR1);
    });
    for (int i = 0; i < 200; ++i) {
      signal_set s{SIGUSR1, SIGUSR2};
      EXPECT_EQ(s.receive(), SIGUSR1);
    }
    done = true;
    sender.join();
  });
}

int handled = 0;
void handle(int) { ++handled; }

TEST(signals_of_the_process, are_what_they_were_when_the_last_set_has_gone) {
  struct sigaction action {
  }, before{};
  handled = 0;
  action.sa_handler = &handle;
  ::sigaction(SIGUSR1, &action, &before);
  {
    std::optional<signal_set> one(std::in_place, std::initializer_list<int>{SIGUSR1});
    signal_set two{SIGUSR1};
    EXPECT_NE(handler_of(SIGUSR1), &handle);
    one.reset();
    EXPECT_NE(handler_of(SIGUSR1), &handle);
    ::raise(SIGUSR1);
    EXPECT_EQ(two.receive(), SIGUSR1);
    two = signal_set{SIGUSR2};
    EXPECT_EQ(handler_of(SIGUSR1), &handle);
  }
  EXPECT_EQ(handled, 0);
  ::raise(SIGUSR1);
  EXPECT_EQ(handled, 1);
  {
    signal_set s{SIGUSR1};
    ::sigaction(SIGUSR1, &before, nullptr);  // The program changes its mind.
  }
  EXPECT_NE(handler_of(SIGUSR1), &handle);
  EXPECT_EQ(handler_of(SIGUSR2), SIG_DFL);
}

TEST(signals_of_the_process, that_are_pending_when_the_last_set_goes_have_no_effect) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  {
    signal_set s{SIGUSR1};
    ::pthread_kill(::pthread_self(), SIGUSR1);  // Pending for this thread alone: nobody can deliver it.
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);  // It would end the program.
}

TEST(signals_of_the_process, arrive_also_where_every_thread_blocks_them) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  {
    signal_set s{SIGUSR1};
    send_to_us(SIGUSR1);
    EXPECT_EQ(s.receive_for(hang_guard), SIGUSR1);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(signals_of_the_process, some_are_refused) {
  for (const int no : {SIGQUIT, SIGKILL, SIGSTOP, SIGSEGV, 0, -1, 65, 32}) {
    std::error_code error;
    signal_set s({no}, error);
    EXPECT_EQ(error, std::errc::invalid_argument) << no;
    EXPECT_EQ(s.receive(), std::nullopt);
  }
  EXPECT_THROW(signal_set{SIGQUIT}, std::system_error);
}

TEST(signals_of_the_process, plain_threads_receive_them_too) {
  const auto before = open_descriptors();
  {
    signal_set s{SIGUSR1};
    std::thread t([&] { EXPECT_EQ(s.receive(), SIGUSR1); });
    std::this_thread::sleep_for(a_moment);
    send_to_us(SIGUSR1);
    t.join();
    EXPECT_EQ(s.receive_for(1ms), std::nullopt);
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; }));
}

TEST(signals_in_a_simulation, are_refused) {
  if (under_tsan) GTEST_SKIP();
  sim::run({.seed = 1}, [] {
    std::error_code error;
    signal_set s({SIGUSR1}, error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
  });
}

}  // namespace
}  // namespace thrum
