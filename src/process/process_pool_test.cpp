// Calls in other processes: what travels, who is served when, limits of the queue, cancellation, and the pool's end.
// For fibers, tasks and plain threads.
#include <thrum/process_pool.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <fcntl.h>

#include "pool_support.hpp"

namespace thrum {
namespace {

using namespace test;

struct point {
  int x, y;
};

point mirrored(point p) { return {p.y, p.x}; }
std::string repeated(std::string_view text, int times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}
double sum(std::span<const double> all) {
  double s = 0;
  for (double d : all) s += d;
  return s;
}
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> all(1);
  for (char c : text)
    if (c == ' ')
      all.emplace_back();
    else
      all.back() += c;
  return all;
}
std::tuple<std::string, std::optional<int>, bool> parsed(std::string text) noexcept {
  if (text.empty()) return {"", std::nullopt, false};
  return {text, static_cast<int>(text.size()), true};
}

// How often this worker has been called.
int ordinal() {
  static int calls = 0;
  return ++calls;
}

class process_pool_test : public on_workers {
 protected:
  void TearDown() override { expect_no_children(); }
};
INSTANTIATE_TEST_SUITE_P(workers, process_pool_test, worker_counts, count_name);

TEST_P(process_pool_test, a_call_returns_what_the_function_returns) {
  run([] {
    process_pool pool({.workers = 1});
    EXPECT_EQ(pool.call(twice, 21), 42);
    const point p = pool.call(mirrored, point{1, 2});
    EXPECT_EQ(p.x, 2);
    EXPECT_EQ(p.y, 1);
    EXPECT_EQ(pool.call(repeated, "ab", 3), "ababab");
    const std::vector<double> numbers{1.5, 2.5, 3};
    EXPECT_EQ(pool.call(sum, numbers), 7);
    EXPECT_EQ(pool.call(words_of, "one two  four"), (std::vector<std::string>{"one", "two", "", "four"}));
    EXPECT_EQ(pool.call(parsed, "four"), std::make_tuple("four", std::optional(4), true));
    EXPECT_EQ(pool.call(parsed, ""), std::make_tuple("", std::nullopt, false));
    EXPECT_EQ(pool.call([](unsigned char c) { return c + 1; }, 7), 8);
    pool.call([] {});
    std::error_code error;
    EXPECT_TRUE(pool.call(error, [] {}));
    EXPECT_FALSE(error);
    EXPECT_EQ(pool.call(error, twice, 4), 8);
  });
}

TEST_P(process_pool_test, a_worker_is_another_process_that_keeps_its_state) {
  run([] {
    process_pool pool({.workers = 1});
    const int id = pool.call(own_id);
    EXPECT_NE(id, ::getpid());
    const int here = ordinal();
    EXPECT_EQ(pool.call(ordinal), 1);
    EXPECT_EQ(pool.call(ordinal), 2);
    EXPECT_EQ(pool.call(own_id), id);
    EXPECT_EQ(ordinal(), here + 1);
  });
}

TEST_P(process_pool_test, tasks_and_threads_call_likewise) {
  run([] {
    process_pool pool({.workers = 2});
    const auto body = [&]() -> task<int> {
      std::error_code error;
      const auto n = co_await pool.async_call(error, twice, 1);
      EXPECT_FALSE(error);
      EXPECT_EQ(n, 2);
      co_await pool.async_call([] {});
      co_return co_await pool.async_call(twice, 8);
    };
    auto t = spawn(body());
    int got = 0;
    std::thread other([&] { got = pool.call(twice, 4); });
    EXPECT_EQ(t.join(), 16);
    other.join();
    EXPECT_EQ(got, 8);
  });
}

// What one of them has learned of a worker's pipe must not mislead the next.
TEST(process_pool, callers_of_all_kinds_take_turns_with_a_worker) {
  process_pool pool({.workers = 1});
  const std::string large(300'000, 'x');
  const auto echo = [](std::string s) { return s; };
  const auto call = [&] { EXPECT_EQ(pool.call(echo, large), large); };
  const auto call_on_a_thread = [&] { std::thread(call).join(); };
  for (int i = 0; i < 3; ++i) {
    call();
    run({.workers = 2}, call);
    call();
    run({.workers = 1}, [&] {
      call();
      call_on_a_thread();
      const auto body = [&]() -> task<> { EXPECT_EQ(co_await pool.async_call(echo, large), large); };
      spawn(body()).join();
      call_on_a_thread();
    });
  }
  EXPECT_EQ(pool.stats().started, 1u);
}

TEST(process_pool, needs_no_runtime) {
  process_pool pool({.workers = 1});
  EXPECT_EQ(pool.call(twice, 3), 6);
  EXPECT_EQ(run([&] { return pool.call(twice, 4); }), 8);
  EXPECT_EQ(run([&] { return pool.call(twice, 5); }), 10);
  pool.join();
  expect_no_children();
}

TEST(process_pool, a_simulation_has_none) {
  sim::run({.seed = 1}, [] { EXPECT_EQ(code_of([] { process_pool pool; }), std::errc::operation_not_supported); });
}

TEST_P(process_pool_test, messages_may_be_large) {
  run([] {
    process_pool pool({.workers = 1, .answer_max = 20'000'000});
    std::string text(5'000'000, 'x');
    text += "end";
    EXPECT_EQ(pool.call([](std::string s) { return s; }, text), text);
    EXPECT_EQ(pool.call(twice, 4), 8);
    std::error_code error;
    EXPECT_FALSE(pool.call(error, repeated, text, 5));
    EXPECT_EQ(error, worker_errc::bad_answer);
    EXPECT_EQ(pool.call(twice, 4), 8);
  });
}

TEST_P(process_pool_test, shared_memory_is_not_copied) {
  run([] {
    process_pool pool({.workers = 1});
    auto memory = shared_memory::create(1 << 20);
    memory.bytes()[17] = std::byte{3};
    pool.call([](shared_memory m) { m.bytes()[18] = m.bytes()[17]; }, memory);
    EXPECT_EQ(memory.bytes()[18], std::byte{3});
    auto made = pool.call(
        [](std::size_t size) {
          auto m = shared_memory::create(size);
          std::fill(m.bytes().begin(), m.bytes().end(), std::byte{9});
          m.freeze();
          return m;
        },
        5000);
    EXPECT_EQ(made.size(), 5000u);
    EXPECT_TRUE(made.frozen());
    EXPECT_EQ(std::as_const(made).bytes()[4999], std::byte{9});
    // Nobody can write to what is frozen, whatever he does.
    memory.freeze();
    std::error_code error;
    pool.call(
        error,
        [](const shared_memory& m) {
          ::signal(SIGSEGV, SIG_DFL);
          const_cast<volatile std::byte&>(m.bytes()[0]) = std::byte{1};
        },
        memory);
    EXPECT_EQ(signal_of(error), SIGSEGV) << error.message();
    EXPECT_EQ(std::as_const(memory).bytes()[0], std::byte{0});
    std::vector<shared_memory> many;
    for (int i = 0; i < 17; ++i) many.push_back(shared_memory::create(1));
    pool.call(
        error, [](std::vector<shared_memory>) {}, many);
    EXPECT_EQ(error, std::errc::message_size);
    many.pop_back();
    EXPECT_EQ(pool.call([](std::vector<shared_memory> all) { return all.size(); }, many), 16u);
  });
}

TEST_P(process_pool_test, workers_inherit_nothing_but_output) {
  run([] {
    auto ends = make_pipe();
    const int leaked = ::fcntl(ends.reader.native_handle(), F_DUPFD, 200);  // Not close-on-exec.
    struct sigaction ignore {
    }, before;
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGUSR1, &ignore, &before);
    process_pool pool({.workers = 1});
    EXPECT_FALSE(pool.call([](int fd) { return ::fcntl(fd, F_GETFD) >= 0; }, leaked));
    EXPECT_TRUE(pool.call([] {
      char byte;
      return ::read(STDIN_FILENO, &byte, 1) == 0;
    }));
    EXPECT_TRUE(pool.call([] {
      struct sigaction now;
      ::sigaction(SIGUSR1, nullptr, &now);
      sigset_t mask;
      ::sigprocmask(SIG_SETMASK, nullptr, &mask);
      return now.sa_handler == SIG_DFL && !sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGINT);
    }));
    EXPECT_TRUE(pool.call([] { return ::getpgrp() == ::getpid(); }));
    ::sigaction(SIGUSR1, &before, nullptr);
    ::close(leaked);
  });
}

TEST_P(process_pool_test, calls_are_served_in_the_order_in_which_they_came) {
  run([] {
    process_pool pool({.workers = 1});
    EXPECT_EQ(pool.call(ordinal), 1);
    const gate g;
    std::vector<int> got(12);
    const auto use = [&](int i) -> task<> { got[i] = co_await pool.async_call(ordinal); };
    scope s;
    s.go([&] { pool.call(wait_for_file, g.name()); });
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 1; }));
    for (int i = 0; i < 12; ++i) {
      if (i % 2 == 0)
        s.go([&, i] { got[i] = pool.call(ordinal); });
      else
        go_in(s, use(i));
      ASSERT_TRUE(eventually([&] { return pool.stats().queued == static_cast<std::size_t>(i + 1); }));
    }
    g.open();
    s.join();
    for (int i = 0; i < 12; ++i) EXPECT_EQ(got[i], i + 2);
  });
}

TEST_P(process_pool_test, many_callers_share_few_workers) {
  run([] {
    process_pool pool({.workers = 2});
    std::atomic<int> right{0};
    std::atomic<unsigned> most{0};
    const auto use = [&](int i) -> task<> {
      const int n = co_await pool.async_call(twice, i);
      right += n == 2 * i;
    };
    scope s;
    for (int i = 0; i < 200; ++i) {
      s.go([&, i] {
        right += pool.call(twice, i) == 2 * i;
        most = std::max(most.load(), pool.stats().workers);
      });
      go_in(s, use(i));
    }
    s.join();
    EXPECT_EQ(right, 400);
    EXPECT_LE(most, 2u);
    EXPECT_LE(pool.stats().started, 2u);
  });
}

TEST_P(process_pool_test, the_queue_is_bounded_and_patience_ends) {
  run([] {
    process_pool pool({.workers = 1, .queue_max = 2});
    const gate g;
    scope s;
    s.go([&] { pool.call(wait_for_file, g.name()); });
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 1; }));
    std::error_code error;
    EXPECT_FALSE(pool.call({.patience = 1ms}, error, twice, 1));
    EXPECT_EQ(error, worker_errc::not_begun);
    EXPECT_EQ(error, std::errc::timed_out);
    const auto body = [&]() -> task<> {
      std::error_code e;
      const call_limits limits{.patience = 1ms};
      const auto none = co_await pool.async_call(limits, e, twice, 1);
      EXPECT_FALSE(none);
      EXPECT_EQ(e, worker_errc::not_begun);
    };
    spawn(body()).join();
    std::atomic<int> right{0};
    for (int i = 0; i < 2; ++i) s.go([&] { right += pool.call({.patience = hang_guard}, twice, 1) == 2; });
    ASSERT_TRUE(eventually([&] { return pool.stats().queued == 2; }));
    EXPECT_FALSE(pool.call(error, twice, 1));
    EXPECT_EQ(error, worker_errc::queue_full);
    EXPECT_EQ(error, std::errc::resource_unavailable_try_again);
    EXPECT_EQ(pool.stats().queued, 2u);
    g.open();
    s.join();
    EXPECT_EQ(right, 2);
  });
}

TEST_P(process_pool_test, a_queued_call_that_is_cancelled_never_runs) {
  run([] {
    process_pool pool({.workers = 1});
    EXPECT_EQ(pool.call(ordinal), 1);
    const gate g;
    std::atomic<int> told{0};
    const auto use = [&]() -> task<> {
      std::error_code error;
      (void)co_await pool.async_call(error, ordinal);
      told += error == std::errc::operation_canceled;
    };
    fiber busy = spawn([&] { pool.call(wait_for_file, g.name()); });
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 1; }));
    fiber f = spawn([&] {
      try {
        pool.call(ordinal);
      } catch (const cancelled&) {
        ++told;
      }
    });
    auto t = spawn(use());
    ASSERT_TRUE(eventually([&] { return pool.stats().queued == 2; }));
    f.request_stop();
    t.request_stop();
    f.join();
    t.join();
    EXPECT_EQ(told, 2);
    EXPECT_EQ(pool.stats().queued, 0u);
    g.open();
    busy.join();
    EXPECT_EQ(pool.call(ordinal), 2);
    EXPECT_EQ(pool.stats().started, 1u);
  });
}

TEST_P(process_pool_test, a_running_call_that_is_cancelled_loses_its_worker_and_frees_its_place) {
  run([] {
    process_pool pool({.workers = 1});
    const int first = pool.call(own_id);
    std::atomic<int> told{0};
    const auto use = [&]() -> task<> {
      std::error_code error;
      co_await pool.async_call(error, spin_for_ever);
      told += error == std::errc::operation_canceled;
    };
    fiber f = spawn([&] {
      try {
        pool.call(spin_for_ever);
      } catch (const cancelled&) {
        ++told;
      }
    });
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 1; }));
    settle();
    f.request_stop();
    f.join();
    EXPECT_TRUE(eventually([&] { return process_is_gone(first); }) || a_moment == 0ns);
    auto t = spawn(use());
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 1; }));
    settle();
    t.request_stop();
    t.join();
    EXPECT_EQ(told, 2);
    EXPECT_EQ(pool.stats().running, 0u);
    EXPECT_EQ(pool.call(twice, 2), 4);
  });
}

TEST_P(process_pool_test, in_a_cancelled_scope_nothing_is_called) {
  run([] {
    process_pool pool({.workers = 1});
    EXPECT_EQ(pool.call(ordinal), 1);
    {
      scope s;
      s.cancel();
      EXPECT_THROW(pool.call(ordinal), cancelled);
      std::error_code error;
      pool.call(error, ordinal);
      EXPECT_EQ(error, std::errc::operation_canceled);
      const auto use = [&]() -> task<> { co_await pool.async_call(ordinal); };
      go_in(s, use());
      s.join();
    }
    EXPECT_EQ(pool.call(ordinal), 2);
  });
}

TEST_P(process_pool_test, join_drains_and_the_workers_end) {
  run([] {
    process_pool pool({.workers = 2});
    const gate g;
    std::atomic<int> right{0};
    scope s;
    for (int i = 0; i < 2; ++i) s.go([&] { right += pool.call(wait_for_file, g.name()) > 0; });
    ASSERT_TRUE(eventually([&] { return pool.stats().running == 2; }));
    for (int i = 0; i < 5; ++i) s.go([&] { right += pool.call(twice, 2) == 4; });
    ASSERT_TRUE(eventually([&] { return pool.stats().queued == 5; }));
    pool.close();
    std::error_code error;
    EXPECT_FALSE(pool.call(error, twice, 1));
    EXPECT_EQ(error, worker_errc::closed);
    fiber impatient = spawn([&] { pool.join(); });
    settle();
    impatient.request_stop();
    impatient.join();
    g.open();
    const auto body = [&]() -> task<> { co_await pool.async_join(); };
    spawn(body()).join();
    EXPECT_EQ(pool.stats().workers, 0u);
    pool.join();
    s.join();
    EXPECT_EQ(right, 7);
    EXPECT_FALSE(has_child_processes());
  });
}

TEST_P(process_pool_test, the_end_of_the_pool_ends_the_calls_under_way) {
  run([] {
    std::atomic<int> told{0};
    const auto use = [&](process_pool& p) -> task<> {
      std::error_code error;
      co_await p.async_call(error, spin_for_ever);
      told += error == worker_errc::closed;
    };
    scope s;
    {
      process_pool pool({.workers = 2});
      for (int i = 0; i < 3; ++i) {
        s.go([&] {
          std::error_code error;
          pool.call(error, spin_for_ever);
          told += error == worker_errc::closed;
        });
        go_in(s, use(pool));
      }
      ASSERT_TRUE(eventually([&] { return pool.stats().running == 2 && pool.stats().queued == 4; }));
    }
    s.join();
    EXPECT_EQ(told, 6);
  });
}

TEST_P(process_pool_test, cancel_races_with_starts_and_calls) {
  run([] {
    for (int round = 0; round < 6; ++round) {
      std::atomic<int> outcomes{0};
      process_pool pool({.workers = 2});
      scope s;
      for (int i = 0; i < 6; ++i)
        s.go([&] {
          std::error_code error;
          const auto n = pool.call(error, twice, 3);
          EXPECT_TRUE(n ? *n == 6 && !error : error == worker_errc::closed) << error.message();
          ++outcomes;
        });
      for (int i = 0; i < round; ++i) this_fiber::sleep_for(a_moment);
      pool.cancel();
      s.join();
      EXPECT_EQ(outcomes, 6);
    }
  });
}

// This very executable is what the workers run. With the variable set they end before they serve.
const bool serves = [] {
  if (const char* how = std::getenv("THRUM_TEST_WORKERS_DIE")) ::_exit(how[0] - '0');
  process_pool::serve_if_worker();
  return true;
}();

TEST(process_pool, the_program_serves_before_its_tests_begin) { EXPECT_TRUE(serves); }

}  // namespace
}  // namespace thrum
