// Workers that crash, hang, lie or never come up, while others work: each call is told exactly what happened to it,
// nobody else notices, and nothing is left behind.
#include <thrum/process_pool.hpp>

#include <array>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>

#include "base/rng.hpp"
#include "pool_support.hpp"
#include "process/pool_frame.hpp"

namespace thrum {
namespace {

using namespace test;

struct oddity : std::runtime_error {
  using runtime_error::runtime_error;
};

void throw_oddity(const std::string& text) { throw oddity(text); }

// What a worker answers with when its memory has gone wrong: the length of a vector that there is not.
struct lie {
  int n;
};

}  // namespace

template <>
struct wire_format<lie> {
  static void write(wire_writer& to, const lie&) { to.write(~std::uint64_t{0}); }
  static lie read(wire_reader& from) { return {static_cast<int>(from.read_count(1))}; }
};

namespace {

void answer_with(const std::string& bytes) { (void)!::write(detail::worker_fd::answers, bytes.data(), bytes.size()); }

class pool_crash_test : public on_workers {
 protected:
  // Runs f(pool) while other calls come and go, all of which succeed.
  template <class F>
  void beside_others(const process_pool_options& options, F f) {
    run([&] {
      {
        process_pool pool(options);
        std::atomic<bool> stop{false};
        std::atomic<int> served{0};
        scope s;
        for (int i = 0; i < 2; ++i)
          s.go([&] {
            while (!stop) {
              EXPECT_EQ(pool.call(twice, 3), 6);
              ++served;
              this_fiber::sleep_for(100us);
            }
          });
        f(pool);
        const int before = served;
        EXPECT_TRUE(eventually([&] { return served > before + 4; }));
        stop = true;
        s.join();
        EXPECT_EQ(pool.call(twice, 3), 6);
      }
      expect_no_children();
    });
  }
};
INSTANTIATE_TEST_SUITE_P(workers, pool_crash_test, worker_counts, count_name);

template <class... Call>
std::error_code failure_of(process_pool& pool, Call... call) {
  std::error_code error;
  (void)pool.call(error, call...);
  return error;
}

TEST_P(pool_crash_test, a_signal_is_named) {
  beside_others({.workers = 2}, [](process_pool& pool) {
    for (const int signal : {SIGSEGV, SIGABRT, SIGKILL, SIGBUS}) {
      const auto error = failure_of(pool, crash_by, signal);
      EXPECT_EQ(error, worker_errc::killed) << error.message();
      EXPECT_EQ(signal_of(error), signal);
      EXPECT_EQ(exit_code_of(error), -1);
    }
    const auto error = failure_of(pool, [] {
      ::signal(SIGSEGV, SIG_DFL);
      volatile int* volatile nowhere = nullptr;
      *nowhere = 1;
    });
    EXPECT_EQ(error.message(), "the worker was ended by signal 11 (SIGSEGV) during the call");
    EXPECT_EQ(failure_of(pool, [] { std::abort(); }).message(),
              "the worker was ended by signal 6 (SIGABRT) during the call");
    try {
      pool.call(crash_by, SIGSEGV);
      ADD_FAILURE();
    } catch (const worker_error& e) {
      EXPECT_EQ(e.code(), worker_errc::killed);
      EXPECT_STREQ(e.what(), "thrum: process_pool: the worker was ended by signal 11 (SIGSEGV) during the call");
    }
  });
}

TEST_P(pool_crash_test, an_exit_is_told_with_its_status) {
  beside_others({.workers = 2}, [](process_pool& pool) {
    for (const int status : {0, 3, 255}) {
      const auto error = failure_of(
          pool, [](int code) { ::_exit(code); }, status);
      EXPECT_EQ(error, worker_errc::exited) << error.message();
      EXPECT_EQ(exit_code_of(error), status);
      EXPECT_EQ(signal_of(error), 0);
    }
    EXPECT_EQ(failure_of(pool, [] { std::exit(0); }), worker_errc::exited);
  });
}

TEST_P(pool_crash_test, an_exception_is_the_callers_and_the_worker_goes_on) {
  run([] {
    process_pool pool({.workers = 1});
    const int id = pool.call(own_id);
    try {
      pool.call(throw_oddity, "no such thing");
      ADD_FAILURE();
    } catch (const worker_error& e) {
      EXPECT_EQ(e.code(), worker_errc::exception);
      EXPECT_EQ(e.text(), "thrum::(anonymous namespace)::oddity: no such thing");
    }
    EXPECT_EQ(failure_of(pool, [] { throw 7; }), worker_errc::exception);
    EXPECT_EQ(failure_of(pool, [] { throw std::bad_alloc(); }), worker_errc::exception);
    EXPECT_EQ(failure_of(pool, [] { throw wire_error("of its own"); }), worker_errc::exception);
    const auto body = [&]() -> task<std::string> {
      try {
        co_await pool.async_call([] { throw std::logic_error("in a task"); });
      } catch (const worker_error& e) {
        co_return e.text();
      }
      co_return "";
    };
    EXPECT_EQ(spawn(body()).join(), "std::logic_error: in a task");
    EXPECT_EQ(pool.call(own_id), id);
  });
}

TEST_P(pool_crash_test, a_call_that_takes_too_long_is_ended) {
  beside_others({.workers = 2}, [](process_pool& pool) {
    std::error_code error;
    pool.call({.timeout = 20ms}, error, spin_for_ever);
    EXPECT_EQ(error, worker_errc::timed_out);
    EXPECT_EQ(error, std::errc::timed_out);
    pool.call({.timeout = 20ms}, error, [] {
      sigset_t all;
      sigfillset(&all);
      ::sigprocmask(SIG_BLOCK, &all, nullptr);
      for (;;) ::pause();
    });
    EXPECT_EQ(error, worker_errc::timed_out);
    const auto body = [&]() -> task<> {
      std::error_code e;
      const call_limits limits{.timeout = 20ms};
      co_await pool.async_call(limits, e, spin_for_ever);
      EXPECT_EQ(e, worker_errc::timed_out);
    };
    spawn(body()).join();
    std::thread([&] {
      pool.call({.timeout = 20ms}, error, spin_for_ever);
      EXPECT_EQ(error, worker_errc::timed_out);
    }).join();
  });
}

TEST_P(pool_crash_test, cpu_time_is_limited_for_each_call) {
  beside_others({.workers = 2, .cpu_time_max = 50ms}, [](process_pool& pool) {
    EXPECT_EQ(failure_of(pool, spin_for_ever), worker_errc::cpu_limit);
    // Waiting costs none, and every call has it anew.
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(failure_of(pool, [] { ::usleep(30'000); }));
  });
}

TEST_P(pool_crash_test, memory_is_limited) {
  if (under_asan || under_tsan) GTEST_SKIP() << "sanitizers end the process when there is no memory";
  beside_others({.workers = 2, .memory_max = 64 << 20}, [](process_pool& pool) {
    const auto use = [](std::size_t bytes) {
      std::vector<char> all(bytes, 'x');
      return all.size();
    };
    EXPECT_EQ(pool.call(use, 8u << 20), 8u << 20);
    const auto error = failure_of(pool, use, std::size_t{256} << 20);
    EXPECT_EQ(error, worker_errc::memory_limit) << error.message();
    EXPECT_EQ(error, std::errc::not_enough_memory);
    // So are the arguments.
    const auto size = [](const std::string& text) { return text.size(); };
    EXPECT_EQ(failure_of(pool, size, std::string(100 << 20, 'x')), worker_errc::memory_limit);
    EXPECT_EQ(pool.call(size, std::string(1 << 20, 'x')), 1u << 20);
    // Shared memory is not the worker's.
    const auto large = shared_memory::create(100 << 20);
    EXPECT_EQ(pool.call([](const shared_memory& m) { return m.size(); }, large), large.size());
    EXPECT_EQ(failure_of(pool,
                         [] {
                           for (;;)
                             if (::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                                 MAP_FAILED)
                               crash_by(SIGABRT);
                         }),
              worker_errc::killed);
  });
}

TEST_P(pool_crash_test, garbage_is_no_answer) {
  beside_others({.workers = 2}, [](process_pool& pool) {
    const std::string zeroes(4096, '\0'), ones(100'000, '\xff');
    for (const auto& bytes : {std::string("x"), std::string("printed by mistake\n"), zeroes, ones}) {
      const auto error = failure_of(pool, answer_with, bytes);
      EXPECT_EQ(error, worker_errc::bad_answer) << error.message();
    }
    EXPECT_EQ(failure_of(pool, [] { return lie{1}; }), worker_errc::bad_answer);
    EXPECT_EQ(failure_of(
                  pool, [](lie) {}, lie{1}),
              worker_errc::bad_arguments);
  });
}

TEST_P(pool_crash_test, a_closed_pipe_is_told) {
  beside_others({.workers = 2}, [](process_pool& pool) {
    const auto error = failure_of(pool, [] {
      ::close_range(3, ~0u, 0);
      for (;;) ::pause();
    });
    EXPECT_EQ(error, worker_errc::disconnected) << error.message();
    EXPECT_EQ(failure_of(pool, [] { ::close(detail::worker_fd::answers); }), worker_errc::exited);
  });
}

TEST_P(pool_crash_test, what_a_worker_has_forked_ends_with_it) {
  run([] {
    process_pool pool({.workers = 1});
    const int forked = pool.call([] {
      const int id = ::fork();
      if (id == 0) spin_for_ever();
      return id;
    });
    EXPECT_FALSE(process_is_gone(forked));
    EXPECT_EQ(failure_of(pool, crash_by, SIGSEGV), worker_errc::killed);
    EXPECT_TRUE(eventually([&] { return process_is_gone(forked); }));
  });
}

TEST_P(pool_crash_test, a_worker_that_ended_between_calls_costs_none) {
  run([] {
    process_pool pool({.workers = 1});
    for (int i = 0; i < 20; ++i) {
      const int id = pool.call(own_id);
      ::kill(id, SIGKILL);
      // Whether it is dead already or not: no call had begun.
      if (i % 2 == 0) EXPECT_TRUE(eventually([&] { return process_is_gone(id); }));
      std::error_code error;
      const auto n = pool.call(error, twice, i);
      // It may have read the call before the signal came to it.
      EXPECT_TRUE(n ? *n == 2 * i : i % 2 != 0 && signal_of(error) == SIGKILL) << error.message();
    }
  });
  expect_no_children();
}

// The variable is read before the worker serves.
class workers_die {
 public:
  explicit workers_die(const char* status) { ::setenv("THRUM_TEST_WORKERS_DIE", status, 1); }
  ~workers_die() { ::unsetenv("THRUM_TEST_WORKERS_DIE"); }
  workers_die(const workers_die&) = delete;
  workers_die& operator=(const workers_die&) = delete;
};

TEST_P(pool_crash_test, workers_that_do_not_come_up_are_not_started_again_and_again) {
  run([] {
    process_pool pool({.workers = 2, .backoff_max = 40ms});
    {
      const workers_die until("9");
      const auto begin = clock::now();
      const std::array<std::chrono::nanoseconds, 4> pauses_until_then{0ms, 10ms, 30ms, 70ms};
      for (const auto least : pauses_until_then) {
        const auto error = failure_of(pool, twice, 1);
        EXPECT_EQ(error, worker_errc::failed_start) << error.message();
        EXPECT_EQ(exit_code_of(error), 9);
        EXPECT_GE(clock::now() - begin, least);
      }
      EXPECT_EQ(pool.stats().started, 4u);
      EXPECT_EQ(pool.stats().failed_starts, 4u);
    }
    EXPECT_EQ(pool.call(twice, 1), 2);
    EXPECT_EQ(pool.stats().workers, 1u);
  });
  expect_no_children();
}

TEST_P(pool_crash_test, a_pause_before_a_start_can_be_cancelled) {
  run([] {
    const workers_die until("9");
    std::atomic<int> told{0};
    process_pool pool({.workers = 1, .backoff_max = 1h});
    for (int i = 0; i < 4; ++i) (void)failure_of(pool, twice, 1);  // Now it pauses 160 ms.
    const auto use = [&]() -> task<> {
      std::error_code error;
      co_await pool.async_call(error, spin_for_ever);
      told += error == std::errc::operation_canceled;
    };
    fiber f = spawn([&] {
      std::error_code error;
      pool.call(error, spin_for_ever);
      told += error == std::errc::operation_canceled;
    });
    f.request_stop();
    f.join();
    auto t = spawn(use());
    t.request_stop();
    t.join();
    EXPECT_EQ(told, 2);
    pool.cancel();
    EXPECT_EQ(failure_of(pool, twice, 1), worker_errc::closed);
  });
}

TEST_P(pool_crash_test, without_descriptors_a_call_fails_and_nothing_leaks) {
  run([] {
    process_pool pool({.workers = 1, .backoff_max = 0ns});
    {
      descriptor_limit limit(open_descriptors() + 3);
      EXPECT_EQ(failure_of(pool, twice, 1), std::errc::too_many_files_open);
    }
    EXPECT_EQ(pool.call(twice, 1), 2);
  });
  expect_no_children();
}

// A pool in a worker of a pool: its parent is killed, and can do nothing.
int start_a_worker_that_spins() {
  static process_pool inner({.workers = 1});
  const int id = inner.call(own_id);
  std::thread([] {
    std::error_code error;
    inner.call(error, spin_for_ever);
  }).detach();
  while (inner.stats().running == 0) ::usleep(200);
  return id;
}

TEST(pool_crash, workers_end_with_the_process_that_started_them) {
  process_pool pool({.workers = 1});
  const int inner = pool.call(start_a_worker_that_spins);
  EXPECT_FALSE(process_is_gone(inner));
  ::kill(pool.call(own_id), SIGKILL);
  EXPECT_TRUE(eventually([&] { return process_is_gone(inner); }));
}

int misbehave(unsigned how) {
  switch (how) {
    case 0:
      crash_by(SIGSEGV);
      break;
    case 1:
      ::_exit(5);
    case 2:
      throw oddity("storm");
    case 3:
      spin_for_ever();
      break;
    case 4:
      answer_with("garbage");
      break;
    default:
      break;
  }
  return static_cast<int>(how);
}

bool is_what_happened(unsigned how, const std::error_code& error) {
  switch (how) {
    case 0:
      return error == worker_errc::killed && signal_of(error) == SIGSEGV;
    case 1:
      return error == worker_errc::exited && exit_code_of(error) == 5;
    case 2:
      return error == worker_errc::exception;
    case 3:
      return error == worker_errc::timed_out;
    case 4:
      return error == worker_errc::bad_answer;
    default:
      return !error;
  }
}

// Callers who do it at random.
struct storm {
  static constexpr int callers = 12, rounds = 6;

  static unsigned pick(base::rng& random) { return static_cast<unsigned>(random.next() % 16); }
  static call_limits limits_of(unsigned how) { return {.timeout = how == 3 ? 5ms : 0ms}; }

  void check(unsigned how, std::optional<int> got, const std::error_code& error) {
    ++outcomes;
    const bool cancelled_call = error == std::errc::operation_canceled;
    cancelled_calls += cancelled_call;
    EXPECT_TRUE(cancelled_call || is_what_happened(how, error)) << how << ": " << error.message();
    EXPECT_EQ(got.has_value(), !error);
  }

  task<> in_a_task(base::rng random) {
    for (int i = 0; i < rounds; ++i) {
      const auto how = pick(random);
      const auto limits = limits_of(how);
      std::error_code error;
      const auto got = co_await pool.async_call(limits, error, misbehave, how);
      check(how, got, error);
    }
  }

  void in_fibers(base::rng random, bool stops_some) {
    for (int i = 0; i < rounds; ++i) {
      const auto how = pick(random);
      std::error_code error;
      std::optional<int> got;
      fiber f = spawn([&] { got = pool.call(limits_of(how), error, misbehave, how); });
      if (stops_some && how % 4 == 0) f.request_stop();
      f.join();
      check(how, got, error);
    }
  }

  void blow() {
    scope s;
    for (int c = 0; c < callers; ++c) {
      const base::rng random(static_cast<std::uint64_t>(c) + 1);
      if (c % 3 == 0)
        go_in(s, in_a_task(random));
      else
        s.go([this, c, random] { in_fibers(random, c % 3 == 1); });
    }
    s.join();
  }

  std::atomic<int> outcomes{0}, cancelled_calls{0};
  process_pool pool{{.workers = 3, .timeout = hang_guard}};
};

TEST_P(pool_crash_test, in_a_storm_every_call_has_one_outcome_and_nothing_is_left) {
  run([] {
    storm s;
    s.blow();
    EXPECT_EQ(s.outcomes, storm::callers * storm::rounds);
    EXPECT_LT(s.cancelled_calls, s.outcomes);
    EXPECT_EQ(s.pool.stats().running + s.pool.stats().queued, 0u);
    EXPECT_LE(s.pool.stats().workers, 3u);
    s.pool.join();
    EXPECT_EQ(s.pool.stats().workers, 0u);
    expect_no_children();
  });
}

}  // namespace
}  // namespace thrum
