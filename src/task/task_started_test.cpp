// What scope::async_start promises.
#include <thrum/task_scope.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_started_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_started_test, worker_counts, count_name);

// Runs body(scope&) as a task, in a scope.
template <class F>
void run_in_scope(F body) {
  spawn(async_with_scope(body)).join();
}

TEST_P(task_started_test, gives_what_the_child_reports_while_it_goes_on) {
  run([] {
    event go_on;
    std::atomic<int> ended{0};
    const auto serve = [&](started<int>& ready) -> task<> {
      co_await async_sleep_for(a_moment);
      ready(42);
      co_await go_on.async_wait();
      ++ended;
    };
    const auto serve_in_a_fiber = [&](started<std::string>& ready) {
      this_fiber::sleep_for(a_moment);
      ready("a fiber");
      go_on.wait();
      ++ended;
    };
    run_in_scope([&](scope& s) -> task<> {
      const int port = co_await s.async_start<int>(serve);
      EXPECT_EQ(port, 42);
      const auto text = co_await s.async_start<std::string>(serve_in_a_fiber);
      EXPECT_EQ(text, "a fiber");
      EXPECT_EQ(ended, 0);
      go_on.set();
    });
    EXPECT_EQ(ended, 2);
  });
}

TEST_P(task_started_test, reports_without_a_value_and_of_move_only_types) {
  run([] {
    const auto report = [](started<void>& ready) -> task<> {
      ready();
      co_return;
    };
    const auto own = [](started<std::unique_ptr<int>>& ready) -> task<> {
      co_await async_yield();
      ready(std::make_unique<int>(7));
    };
    run_in_scope([&](scope& s) -> task<> {
      co_await s.async_start<void>(report);
      const auto p = co_await s.async_start<std::unique_ptr<int>>(own);
      EXPECT_EQ(*p, 7);
    });
  });
}

TEST_P(task_started_test, a_failure_before_is_thrown_and_does_not_fail_the_scope) {
  run([] {
    const auto fails = [](started<int>&) -> task<> {
      co_await async_yield();
      throw std::out_of_range("address in use");
    };
    const auto works = [](started<int>& ready) -> task<> {
      ready(1);
      co_return;
    };
    run_in_scope([&](scope& s) -> task<> {
      bool thrown = false;
      try {
        (void)co_await s.async_start<int>(fails);
      } catch (const std::out_of_range&) {
        thrown = true;
      }
      EXPECT_TRUE(thrown);
      EXPECT_FALSE(s.cancelled());
      const int n = co_await s.async_start<int>(works);  // As one would with another port.
      EXPECT_EQ(n, 1);
      EXPECT_TRUE(s.failures().empty());
    });
  });
}

TEST_P(task_started_test, a_failure_afterwards_is_the_scopes) {
  run([] {
    const auto fails_later = [](started<int>& ready) -> task<> {
      ready(1);
      co_await async_yield();
      throw std::out_of_range("later");
    };
    EXPECT_THROW(run_in_scope([&](scope& s) -> task<> {
                   const int n = co_await s.async_start<int>(fails_later);
                   EXPECT_EQ(n, 1);
                 }),
                 std::out_of_range);
  });
}

TEST_P(task_started_test, an_end_without_a_report_is_a_broken_promise) {
  run([] {
    const auto ends = [](started<int>&) -> task<> { co_return; };
    const auto gives_up = [](started<int>&) -> task<> {
      throw cancelled{};
      co_return;
    };
    run_in_scope([&](scope& s) -> task<> {
      int broken = 0;
      try {
        (void)co_await s.async_start<int>(ends);
      } catch (const broken_promise&) {
        ++broken;
      }
      try {
        (void)co_await s.async_start<int>(gives_up);
      } catch (const broken_promise&) {
        ++broken;
      }
      EXPECT_EQ(broken, 2);
    });
  });
}

TEST_P(task_started_test, a_cancelled_start_cancels_the_child_alone) {
  run([] {
    std::atomic<int> stopped{0}, finished{0};
    event never_set, go_on;
    scope s;
    s.go([&] {
      go_on.wait();
      ++finished;
    });
    const auto waits = [&](started<int>&) -> task<> {
      try {
        co_await never_set.async_wait();
      } catch (const cancelled&) {
        ++stopped;
        throw;
      }
    };
    const auto waits_in_a_fiber = [&](started<int>&) {
      try {
        never_set.wait();
      } catch (const cancelled&) {
        ++stopped;
        throw;
      }
    };
    auto a = spawn(s.async_start<int>(waits));
    auto b = spawn(s.async_start<int>(waits_in_a_fiber));
    settle();
    a.request_stop();
    b.request_stop();
    EXPECT_THROW(a.join(), broken_promise);
    EXPECT_THROW(b.join(), broken_promise);
    // A child that had not begun to wait does not begin at all.
    EXPECT_FALSE(s.cancelled());
    go_on.set();
    s.join();
    EXPECT_LE(stopped, 2);
    EXPECT_EQ(finished, 1);
  });
}

TEST_P(task_started_test, in_a_cancelled_scope_it_is_cancelled_and_the_child_does_not_wait) {
  run([] {
    std::atomic<bool> went_past{false};
    const auto waits = [&](started<int>& ready) -> task<> {
      co_await async_sleep_for(24h);
      went_past = true;
      ready(1);
    };
    const auto body = [&]() -> task<int> {
      int thrown = 0;
      scope s;
      s.cancel();
      try {
        (void)co_await s.async_start<int>(waits);
      } catch (const cancelled&) {
        ++thrown;
      }
      co_await s.async_join();
      co_return thrown;
    };
    EXPECT_EQ(spawn(body()).join(), 1);
    EXPECT_FALSE(went_past);
  });
}

TEST_P(task_started_test, cancelling_the_scope_reaches_the_child_after_it_was_ready) {
  run([] {
    const auto serve = [](started<void>& ready) -> task<> {
      ready();
      co_await async_sleep_for(24h);
    };
    run_in_scope([&](scope& s) -> task<> {
      co_await s.async_start<void>(serve);
      s.cancel();
    });
  });
}

TEST_P(task_started_test, storm_of_reports_and_cancellations) {
  run([] {
    scope all;
    for (int i = 0; i < 8; ++i)
      go_in(all, [](scope& s, int n) -> task<> {
        const auto child = [n](started<int>& ready) -> task<> {
          co_await async_sleep_for(std::chrono::microseconds(n * 40));
          ready(n);
          co_await async_yield();
        };
        const auto starts = [&](scope&) -> task<> {
          const int got = co_await s.async_start<int>(child);
          EXPECT_EQ(got, n);
        };
        for (int k = 0; k < 25; ++k) {
          try {
            co_await async_with_scope(std::chrono::microseconds(k * 20), starts);
          } catch (const timed_out&) {
          }
        }
      }(all, i));
    all.join();
  });
}

}  // namespace
}  // namespace thrum
