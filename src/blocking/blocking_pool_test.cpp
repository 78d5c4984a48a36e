// What blocking.hpp promises of pools that a program makes.
#include <thrum/blocking.hpp>
#include <thrum/task_blocking.hpp>

#include <atomic>
#include <future>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/prctl.h>

#include "os/thread.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class pool_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(with, pool_test, worker_counts, count_name);

bool has(const blocking_pool& pool, std::size_t running, std::size_t queued) {
  const auto now = pool.stats();
  return now.running == running && now.queued == queued;
}

// While it lives all threads of the pool are busy, until let_go().
class busy {
 public:
  busy(blocking_pool& pool, std::size_t threads) : callers_(threads) {
    for (auto& c : callers_) c = spawn([&pool, held = held_] { blocking(pool, [held] { held.wait(); }); });
    EXPECT_TRUE(eventually([&] { return has(pool, threads, 0); }));
  }
  ~busy() {
    let_go();
    for (auto& c : callers_) c.join();
  }
  void let_go() {
    if (!std::exchange(gone_, true)) let_.set_value();
  }

 private:
  std::promise<void> let_;
  std::shared_future<void> held_ = let_.get_future().share();
  std::vector<fiber> callers_;
  bool gone_ = false;
};

TEST_P(pool_test, its_calls_run_on_threads_of_its_own) {
  run([] {
    blocking_pool pool({.name = "a name of more than fifteen bytes", .threads_max = 2});
    const auto before = blocking_stats().completed;
    const auto name = blocking(pool, [] {
      char text[16] = {};
      ::prctl(PR_GET_NAME, text, 0, 0, 0);
      return std::string(text);
    });
    EXPECT_EQ(name, "a name of more ");
    const auto use = [&]() -> task<pid_t> {
      const auto id = [] { return os::thread_id(); };
      co_return co_await async_blocking(pool, id);
    };
    EXPECT_NE(spawn(use()).join(), os::thread_id());
    EXPECT_THROW(blocking(pool, [] { throw 7; }), int);
    EXPECT_EQ(pool.stats().completed, 3u);
    EXPECT_EQ(pool.stats().threads_max, 2u);
    EXPECT_EQ(blocking_stats().completed, before);
  });
}

TEST_P(pool_test, its_limit_is_its_own_and_callers_wait_in_order) {
  run([] {
    blocking_pool one({.threads_max = 1}), other({.threads_max = 1});
    std::vector<int> order;  // By the pool's one thread.
    std::vector<fiber> callers;
    busy held(one, 1);
    for (int i = 0; i < 5; ++i) {
      callers.push_back(spawn([&, i] { blocking(one, [&order, i] { order.push_back(i); }); }));
      EXPECT_TRUE(eventually([&] { return has(one, 1, static_cast<std::size_t>(i) + 1); }));
    }
    EXPECT_EQ(blocking(other, [] { return 7; }), 7);
    EXPECT_EQ(one.stats().threads, 1u);
    held.let_go();
    for (auto& c : callers) c.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  });
}

TEST_P(pool_test, a_full_queue_refuses_the_next_call) {
  run([] {
    blocking_pool pool({.threads_max = 2, .queue_max = 1});
    const auto refused = [](auto call) {
      try {
        call();
      } catch (const std::system_error& e) {
        return e.code() == std::errc::no_buffer_space;
      }
      return false;
    };
    busy held(pool, 2);
    fiber waits = spawn([&] { blocking(pool, [] {}); });
    EXPECT_TRUE(eventually([&] { return has(pool, 2, 1); }));
    EXPECT_TRUE(refused([&] { blocking(pool, [] { ADD_FAILURE(); }); }));
    const auto use = [&]() -> task<> { co_await async_blocking(pool, [] { ADD_FAILURE(); }); };
    EXPECT_TRUE(refused([&] { spawn(use()).join(); }));
    EXPECT_EQ(pool.stats().refused, 2u);
    held.let_go();
    waits.join();
    EXPECT_EQ(blocking(pool, [] { return 7; }), 7);
  });
}

TEST_P(pool_test, without_a_queue_only_free_threads_take_calls) {
  run([] {
    blocking_pool pool({.threads_max = 1, .queue_max = 0});
    EXPECT_EQ(blocking(pool, [] { return 7; }), 7);
    busy held(pool, 1);
    EXPECT_THROW(blocking(pool, [] { ADD_FAILURE(); }), std::system_error);
  });
}

TEST_P(pool_test, a_queued_call_that_is_cancelled_never_runs_and_makes_room) {
  run([] {
    blocking_pool pool({.threads_max = 1, .queue_max = 1});
    busy held(pool, 1);
    fiber f = spawn([&] { blocking(pool, [] { ADD_FAILURE(); }); });
    EXPECT_TRUE(eventually([&] { return has(pool, 1, 1); }));
    f.request_stop();
    f.join();
    EXPECT_TRUE(has(pool, 1, 0));
    EXPECT_EQ(pool.stats().withdrawn, 1u);
    fiber g = spawn([&] { EXPECT_EQ(blocking(pool, [] { return 7; }), 7); });
    EXPECT_TRUE(eventually([&] { return has(pool, 1, 1); }));
    held.let_go();
    g.join();
  });
}

TEST_P(pool_test, cancellation_completion_and_refusal_race) {
  run([] {
    blocking_pool pool({.threads_max = 2, .queue_max = 3});
    std::atomic<std::uint64_t> ran{0}, returned{0}, cancelled_calls{0}, refused{0};
    const auto count = [&](auto call) {
      try {
        call();
        ++returned;
      } catch (const cancelled&) {
        ++cancelled_calls;
      } catch (const std::system_error&) {
        ++refused;
      }
    };
    for (int round = 0; round < 50; ++round) {
      scope s;
      for (int i = 0; i < 12; ++i) s.go([&] { count([&] { blocking(pool, [&] { ++ran; }); }); });
      for (int i = 0; i < round % 5; ++i) this_fiber::yield();
      s.cancel();
      s.join();
    }
    EXPECT_EQ(ran, returned);
    EXPECT_EQ(returned + cancelled_calls + refused, 50u * 12);
    EXPECT_TRUE(eventually([&] { return has(pool, 0, 0); }));
    EXPECT_EQ(pool.stats().completed, ran);
    EXPECT_EQ(pool.stats().refused, refused);
  });
}

TEST(own_pool_test, has_a_thread_for_each_core_unless_told_otherwise) {
  const blocking_pool pool;
  EXPECT_EQ(pool.stats().threads_max, available_processors());
  EXPECT_EQ(pool.stats().threads, 0u);
}

TEST(own_pool_test, outlives_runtimes_and_ends_its_threads) {
  run({.workers = 2}, [] {});  // A sanitizer starts a thread of its own with the first.
  const int before = os::thread_count();
  {
    blocking_pool pool({.threads_max = 3});
    for (int i = 0; i < 20; ++i) {
      run({.workers = 2}, [&] {
        scope s;
        for (int k = 0; k < 8; ++k) s.go([&] { blocking(pool, [] {}); });
        s.join();
      });
    }
    EXPECT_EQ(pool.stats().completed, 160u);
    EXPECT_GT(pool.stats().threads, 0u);
  }
  EXPECT_TRUE(eventually([&] { return os::thread_count() <= before; }));
}

TEST(own_pool_test, pools_come_and_go) {
  run({.workers = 2}, [] {
    for (int i = 0; i < 200; ++i) {
      blocking_pool pool({.threads_max = 2});
      EXPECT_EQ(blocking(pool, [i] { return i; }), i);
    }
  });
}

}  // namespace
}  // namespace thrum
