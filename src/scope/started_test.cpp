// What scope::start and started.hpp promise.
#include <thrum/started.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class started_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, started_test, worker_counts, count_name);

TEST_P(started_test, start_returns_what_the_child_reports_while_it_goes_on) {
  run([] {
    event go_on;
    std::atomic<bool> ended{false};
    scope s;
    const int port = s.start<int>([&](started<int>& ready) {
      this_fiber::sleep_for(a_moment);
      ready(42);
      go_on.wait();
      ended = true;
    });
    EXPECT_EQ(port, 42);
    EXPECT_FALSE(ended);
    go_on.set();
    s.join();
    EXPECT_TRUE(ended);
  });
}

TEST_P(started_test, reports_without_a_value_and_of_move_only_types) {
  run([] {
    scope s;
    s.start<void>([](started<void>& ready) { ready(); });
    auto p = s.start<std::unique_ptr<int>>([](auto& ready) { ready(std::make_unique<int>(7)); });
    EXPECT_EQ(*p, 7);
    EXPECT_EQ(s.start<std::string>([](auto& ready) { ready("converted"); }), "converted");
    s.join();
  });
}

TEST_P(started_test, a_failure_before_is_thrown_by_start_and_does_not_fail_the_scope) {
  run([] {
    scope s;
    s.go([] { this_fiber::sleep_for(a_moment); });
    EXPECT_THROW(s.start<int>([](started<int>&) { throw std::runtime_error("address in use"); }), std::runtime_error);
    EXPECT_FALSE(s.cancelled());
    EXPECT_EQ(s.start<int>([](started<int>& ready) { ready(1); }), 1);  // As one would with another port.
    s.join();
    EXPECT_TRUE(s.failures().empty());
  });
}

TEST_P(started_test, a_failure_afterwards_is_the_scopes) {
  run([] {
    scope s;
    EXPECT_EQ(s.start<int>([](started<int>& ready) {
      ready(1);
      throw std::runtime_error("later");
    }),
              1);
    EXPECT_THROW(s.join(), std::runtime_error);
  });
}

TEST_P(started_test, an_end_without_a_report_is_a_broken_promise) {
  run([] {
    scope s;
    EXPECT_THROW(s.start<int>([](started<int>&) {}), broken_promise);
    EXPECT_THROW(s.start<int>([](started<int>&) { throw cancelled{}; }), broken_promise);
    s.join();
  });
}

TEST_P(started_test, a_second_report_throws) {
  run([] {
    scope s;
    std::atomic<bool> refused{false};
    EXPECT_EQ(s.start<int>([&](started<int>& ready) {
      ready(1);
      try {
        ready(2);
      } catch (const already_started&) {
        refused = true;
      }
    }),
              1);
    s.join();
    EXPECT_TRUE(refused);
  });
}

TEST_P(started_test, a_cancelled_start_cancels_the_child_alone) {
  run([] {
    std::atomic<int> stopped{0}, finished{0};
    event never_set, go_on;
    scope s;
    s.go([&] {
      go_on.wait();
      ++finished;
    });
    EXPECT_THROW(with_scope(20ms,
                            [&](scope&) {
                              s.start<int>([&](started<int>&) {
                                try {
                                  never_set.wait();
                                } catch (const cancelled&) {
                                  ++stopped;
                                  throw;
                                }
                              });
                            }),
                 timed_out);
    EXPECT_TRUE(eventually([&] { return stopped == 1; }));
    EXPECT_FALSE(s.cancelled());
    go_on.set();
    s.join();
    EXPECT_EQ(finished, 1);
  });
}

TEST_P(started_test, in_a_cancelled_scope_throws_cancelled_and_the_child_does_not_wait) {
  run([] {
    std::atomic<bool> went_past{false};
    scope s;
    s.cancel();
    EXPECT_THROW(s.start<int>([&](started<int>& ready) {
      this_fiber::sleep_for(24h);
      went_past = true;
      ready(1);
    }),
                 cancelled);
    s.join();
    EXPECT_FALSE(went_past);
  });
}

TEST_P(started_test, cancelling_the_scope_reaches_the_child_after_it_was_ready) {
  run([] {
    scope s;
    s.start<void>([](started<void>& ready) {
      ready();
      this_fiber::sleep_for(24h);
    });
    s.cancel();
    s.join();
  });
}

TEST_P(started_test, storm_of_reports_and_cancellations) {
  run([] {
    scope all;
    for (int i = 0; i < 8; ++i)
      all.go([&all, i] {
        for (int k = 0; k < 25; ++k) {
          try {
            with_scope(std::chrono::microseconds(k * 20), [&](scope&) {
              const int n = all.start<int>([i](started<int>& ready) {
                this_fiber::sleep_for(std::chrono::microseconds(i * 40));
                ready(i);
                this_fiber::yield();
              });
              EXPECT_EQ(n, i);
            });
          } catch (const timed_out&) {
          }
        }
      });
    all.join();
  });
}

}  // namespace
}  // namespace thrum
