// Scopes of tasks, and what tasks inherit.
#include <thrum/task_scope.hpp>

#include <atomic>
#include <stdexcept>
#include <vector>

#include <thrum/context_value.hpp>
#include <thrum/fiber_local.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_scope_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_scope_test, worker_counts, count_name);

task<int> give_later(int v) {
  co_await async_sleep_for(a_moment);
  co_return v;
}
task<> sleep_long(std::atomic<int>& cancelled_ones) {
  try {
    co_await async_sleep_for(24h);
  } catch (const cancelled&) {
    ++cancelled_ones;
    throw;
  }
}
task<> fail_later() {
  co_await async_sleep_for(a_moment);
  throw std::out_of_range("a child");
}

TEST_P(task_scope_test, a_fiber_s_scope_owns_tasks) {
  run([] {
    scope s;
    auto a = async_in(s, give_later(1)), b = async_in(s, give_later(2));
    std::atomic<bool> done{false};
    go_in(s, [](std::atomic<bool>& flag) -> task<> {
      co_await async_yield();
      flag = true;
    }(done));
    s.join();
    EXPECT_TRUE(done);
    EXPECT_EQ(a.get() + b.get(), 3);
    EXPECT_THROW(go_in(s, fail_later()), std::logic_error);
    EXPECT_THROW(go_in(s, task<>()), std::invalid_argument);
  });
}

TEST_P(task_scope_test, a_failure_cancels_the_others_and_is_thrown) {
  run([] {
    std::atomic<int> stopped{0};
    const auto body = [&]() -> task<> {
      co_await async_with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 3; ++i) go_in(s, sleep_long(stopped));
        go_in(s, fail_later());
        co_await async_sleep_for(24h);  // The body is cancelled as well.
      });
    };
    EXPECT_THROW(spawn(body()).join(), std::out_of_range);
    EXPECT_EQ(stopped, 3);
    scope s;
    auto f = async_in(s, [](int v) -> task<int> {
      co_await async_yield();
      if (v > 0) throw std::out_of_range("v");
      co_return v;
    }(1));
    EXPECT_THROW(s.join(), std::out_of_range);
    EXPECT_THROW(f.get(), std::out_of_range);
  });
}

TEST_P(task_scope_test, an_exception_of_the_body_cancels_the_children) {
  run([] {
    std::atomic<int> stopped{0};
    const auto body = [&]() -> task<> {
      co_await async_with_scope([&](scope& s) -> task<> {
        go_in(s, sleep_long(stopped));
        co_await async_sleep_for(a_moment);
        throw std::length_error("the body");
      });
    };
    EXPECT_THROW(spawn(body()).join(), std::length_error);
    EXPECT_EQ(stopped, 1);
  });
}

TEST_P(task_scope_test, a_deadline_is_told_and_a_cancellation_from_outside_passes_on) {
  run([] {
    std::atomic<int> stopped{0};
    const auto limited = [&](std::chrono::nanoseconds d) -> task<int> {
      co_await async_with_scope(d, [&](scope& s) -> task<> {
        go_in(s, sleep_long(stopped));
        co_return;
      });
      co_return 1;
    };
    EXPECT_THROW(spawn(limited(2ms)).join(), timed_out);
    EXPECT_EQ(stopped, 1);
    auto t = spawn(limited(24h));
    settle();
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    EXPECT_EQ(stopped, 2);
  });
}

TEST_P(task_scope_test, cancelling_the_scope_itself_is_absorbed) {
  run([] {
    std::atomic<int> stopped{0};
    const auto body = [&]() -> task<int> {
      co_await async_with_scope([&](scope& s) -> task<> {
        go_in(s, sleep_long(stopped));
        co_await async_sleep_for(a_moment);
        s.cancel();
        co_await async_sleep_for(24h);
      });
      co_return 7;
    };
    EXPECT_EQ(spawn(body()).join(), 7);
    EXPECT_EQ(stopped, 1);
  });
}

TEST_P(task_scope_test, a_future_of_a_cancelled_task_is_broken) {
  run([] {
    scope s;
    auto f = async_in(s, []() -> task<int> {
      co_await async_sleep_for(24h);
      co_return 1;
    }());
    settle();
    s.cancel();
    s.join();
    EXPECT_THROW(f.get(), broken_promise);
  });
}

TEST_P(task_scope_test, tasks_inherit_context_values) {
  run([] {
    static const context_key<int> request;
    context_value bound(request, 42);
    const auto read = []() -> task<int> {
      co_await async_yield();
      co_return request.get();
    };
    EXPECT_EQ(spawn(read()).join(), 42);
    scope s;
    auto f = async_in(s, read());
    s.join();
    EXPECT_EQ(f.get(), 42);
    const auto outer = [&]() -> task<int> { co_return co_await spawn(read()).async_join(); };
    EXPECT_EQ(spawn(outer()).join(), 42);
  });
}

TEST_P(task_scope_test, each_task_has_its_own_locals_which_end_with_it) {
  run([] {
    static std::atomic<int> alive{0};
    struct counted {
      int value = 0;
      counted() { ++alive; }
      ~counted() { --alive; }
    };
    static fiber_local<counted> local;
    std::vector<task_handle<int>> all;
    for (int i = 0; i < 10; ++i)
      all.push_back(spawn([](int v) -> task<int> {
        local->value = v;
        for (int k = 0; k < 5; ++k) co_await async_yield();
        co_return local->value;
      }(i)));
    for (int i = 0; i < 10; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].join(), i);
    EXPECT_EQ(alive, 0);
  });
}

}  // namespace
}  // namespace thrum
