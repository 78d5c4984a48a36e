// What scope.hpp promises. What each waiting call does when it is cancelled: tests/semantics_cancellation_test.cpp.
#include <thrum/latch.hpp>
#include <thrum/scope.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class scope_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, scope_test, worker_counts, count_name);

// Sleeps until it is cancelled, and tells so.
void sleep_until_cancelled(std::atomic<int>& count) {
  try {
    this_fiber::sleep_for(24h);
  } catch (const cancelled&) {
    ++count;
    throw;
  }
}

std::string message_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return x.what();
  }
}

TEST_P(scope_test, join_waits_for_all_children) {
  run([] {
    std::atomic<int> ended{0};
    scope s;
    for (int i = 0; i < 50; ++i)
      s.go([&] {
        this_fiber::yield();
        ++ended;
      });
    s.join();
    EXPECT_EQ(ended, 50);
    EXPECT_FALSE(s.cancelled());
    EXPECT_FALSE(s.expired());
    EXPECT_TRUE(s.failures().empty());
  });
}

TEST_P(scope_test, join_waits_for_children_that_children_start) {
  run([] {
    std::atomic<int> ended{0};
    scope s;
    s.go([&] {
      this_fiber::sleep_for(a_moment);
      s.go([&] {
        this_fiber::sleep_for(a_moment);
        s.go([&] { ++ended; });
        ++ended;
      });
      ++ended;
    });
    s.join();
    EXPECT_EQ(ended, 3);
  });
}

TEST_P(scope_test, an_empty_scope_joins_at_once) {
  run([] {
    scope s;
    s.join();
    s.join();
    EXPECT_THROW(s.go([] {}), std::logic_error);
  });
}

TEST_P(scope_test, the_first_failure_cancels_the_others_and_is_thrown_by_join) {
  run([] {
    std::atomic<int> stopped{0};
    scope s;
    for (int i = 0; i < 10; ++i) s.go([&] { sleep_until_cancelled(stopped); });
    s.go([] {
      settle();
      throw std::runtime_error("first");
    });
    try {
      s.join();
      ADD_FAILURE() << "join did not throw";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "first");
    }
    EXPECT_EQ(stopped, 10);
    EXPECT_TRUE(s.cancelled());
    EXPECT_FALSE(s.expired());
    ASSERT_EQ(s.failures().size(), 1u);  // The cancelled ones have not failed.
  });
}

TEST_P(scope_test, all_failures_stay_inspectable_the_first_one_first) {
  run([] {
    scope s;
    s.go([] { throw std::runtime_error("first"); });
    settle();
    for (int i = 0; i < 3; ++i)
      s.go([] {
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {
          throw std::runtime_error("later");
        }
      });
    EXPECT_THROW(s.join(), std::runtime_error);
    const auto all = s.failures();
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(message_of(all[0]), "first");
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(message_of(all[i]), "later");
  });
}

TEST_P(scope_test, a_failure_cancels_the_opener_too) {
  run([] {
    scope s;
    s.go([] { throw std::runtime_error("child"); });
    EXPECT_THROW(this_fiber::sleep_for(24h), cancelled);
    EXPECT_TRUE(this_fiber::stop_requested());
    EXPECT_THROW(s.join(), std::runtime_error);
    EXPECT_FALSE(this_fiber::stop_requested());
    this_fiber::yield();
  });
}

TEST_P(scope_test, join_absorbs_the_cancellation_that_the_scope_caused) {
  run([] {
    std::atomic<int> stopped{0};
    scope s;
    for (int i = 0; i < 10; ++i) s.go([&] { sleep_until_cancelled(stopped); });
    settle();
    s.cancel();
    s.cancel();
    EXPECT_TRUE(s.cancelled());
    s.join();
    EXPECT_EQ(stopped, 10);
    this_fiber::yield();  // The opener is free again.
  });
}

TEST_P(scope_test, anybody_may_cancel) {
  run([] {
    std::atomic<int> stopped{0};
    scope s;
    s.go([&] { sleep_until_cancelled(stopped); });
    std::thread t([&] { s.cancel(); });
    s.join();
    t.join();
    EXPECT_EQ(stopped, 1);
  });
}

TEST_P(scope_test, a_deadline_cancels_and_join_throws_timed_out) {
  run([] {
    std::atomic<int> stopped{0};
    const auto start = clock::now();
    scope s{.deadline = 5ms};
    for (int i = 0; i < 10; ++i) s.go([&] { sleep_until_cancelled(stopped); });
    EXPECT_THROW(s.join(), timed_out);
    EXPECT_GE(clock::now() - start, 5ms);
    EXPECT_EQ(stopped, 10);
    EXPECT_TRUE(s.cancelled());
    EXPECT_TRUE(s.expired());
    EXPECT_TRUE(s.failures().empty());
    this_fiber::yield();
  });
}

TEST_P(scope_test, a_deadline_cancels_the_opener_where_it_waits) {
  run([] {
    scope s{.deadline = 3ms};
    EXPECT_THROW(this_fiber::sleep_for(24h), cancelled);
    EXPECT_TRUE(s.expired());
    EXPECT_THROW(s.join(), timed_out);
  });
}

TEST_P(scope_test, a_failure_goes_before_an_expired_deadline) {
  run([] {
    scope s{.deadline = 2ms};
    s.go([] {
      try {
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        throw std::runtime_error("on the way out");
      }
    });
    EXPECT_THROW(s.join(), std::runtime_error);
    EXPECT_TRUE(s.expired());
  });
}

TEST_P(scope_test, a_deadline_in_time_changes_nothing_and_its_timer_is_taken_back) {
  with_runtime({.workers = GetParam()}, [](runtime& rt) {
    {
      scope s{.deadline = 24h};
      s.go([] { this_fiber::yield(); });
      EXPECT_EQ(rt.stats().timers, 1u);
      s.join();
      EXPECT_FALSE(s.expired());
    }
    EXPECT_EQ(rt.stats().timers, 0u);
  });
}

TEST_P(scope_test, a_deadline_of_zero_has_passed) {
  run([] {
    scope s{.deadline = 0ns};
    std::atomic<int> stopped{0};
    s.go([&] { sleep_until_cancelled(stopped); });
    EXPECT_THROW(s.join(), timed_out);
    EXPECT_EQ(stopped, 1);
  });
}

TEST_P(scope_test, destruction_cancels_and_waits) {
  run([] {
    std::atomic<int> stopped{0};
    {
      scope s;
      for (int i = 0; i < 10; ++i) s.go([&] { sleep_until_cancelled(stopped); });
      settle();
    }
    EXPECT_EQ(stopped, 10);
    this_fiber::yield();
  });
}

TEST_P(scope_test, destruction_waits_although_the_opener_is_cancelled) {
  run([] {
    std::atomic<bool> child_ended{false};
    bool seen = false;
    fiber f = spawn([&] {
      try {
        scope s;
        s.go([&] {
          scope shielded{.shield = true};
          this_fiber::sleep_for(a_moment);
          child_ended = true;
        });
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        seen = child_ended;
      }
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_TRUE(seen);
  });
}

TEST_P(scope_test, calls_that_would_not_wait_throw_too) {
  run([] {
    scope s;
    s.cancel();
    EXPECT_THROW(this_fiber::yield(), cancelled);
    EXPECT_THROW(this_fiber::sleep_for(0ms), cancelled);
    EXPECT_THROW(wait_group().wait(), cancelled);
    channel<int> ch(1);
    EXPECT_THROW(ch.send(1), cancelled);
    EXPECT_EQ(ch.size(), 0u);
    s.join();
    ch.send(1);
  });
}

TEST_P(scope_test, a_child_of_a_cancelled_scope_starts_and_is_cancelled_at_its_first_wait) {
  run([] {
    std::atomic<int> started{0}, stopped{0};
    scope s;
    s.cancel();
    for (int i = 0; i < 10; ++i)
      s.go([&] {
        ++started;
        sleep_until_cancelled(stopped);
      });
    s.join();
    EXPECT_EQ(started, 10);
    EXPECT_EQ(stopped, 10);
  });
}

TEST_P(scope_test, cancelling_reaches_nested_scopes) {
  run([] {
    std::atomic<int> stopped{0};
    scope outer;
    outer.go([&] {
      scope middle;
      middle.go([&] {
        scope inner;
        inner.go([&] { sleep_until_cancelled(stopped); });
        inner.go([&] { sleep_until_cancelled(stopped); });
        inner.join();
      });
      middle.join();
    });
    settle();
    outer.cancel();
    outer.join();
    EXPECT_EQ(stopped, 2);
  });
}

TEST_P(scope_test, cancelling_an_inner_scope_leaves_the_outer_alone) {
  run([] {
    std::atomic<int> inner_stopped{0};
    std::atomic<bool> outer_went_on{false};
    scope outer;
    outer.go([&] {
      this_fiber::sleep_for(2 * a_moment);
      outer_went_on = true;
    });
    {
      scope inner;
      inner.go([&] { sleep_until_cancelled(inner_stopped); });
      settle();
      inner.cancel();
      inner.join();
    }
    EXPECT_FALSE(outer.cancelled());
    this_fiber::yield();
    outer.join();
    EXPECT_TRUE(outer_went_on);
    EXPECT_EQ(inner_stopped, 1);
  });
}

TEST_P(scope_test, join_of_an_inner_scope_passes_the_outer_cancellation_on) {
  run([] {
    bool passed = false;
    scope outer;
    outer.go([&] {
      scope inner;
      inner.go([] { this_fiber::sleep_for(24h); });
      try {
        inner.join();
      } catch (const cancelled&) {
        passed = true;
        throw;
      }
    });
    settle();
    outer.cancel();
    outer.join();
    EXPECT_TRUE(passed);
  });
}

TEST_P(scope_test, a_shield_stops_cancellation_from_outside) {
  run([] {
    std::atomic<int> waited{0};
    bool refused_after = false;
    latch is_shielded(1), is_cancelled(1);
    scope outer;
    outer.go([&] {
      {
        scope shielded{.shield = true};
        const auto wait = [&] {
          is_cancelled.wait();
          this_fiber::sleep_for(a_moment);
          ++waited;
        };
        shielded.go(wait);
        is_shielded.count_down();
        wait();
        shielded.join();
      }
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        refused_after = true;
      }
    });
    is_shielded.wait();
    outer.cancel();
    is_cancelled.count_down();
    outer.join();
    EXPECT_EQ(waited, 2);
    EXPECT_TRUE(refused_after);
  });
}

TEST_P(scope_test, a_shield_opened_in_a_cancelled_scope_works_at_once) {
  run([] {
    scope outer;
    outer.cancel();
    {
      scope shielded{.shield = true};
      this_fiber::sleep_for(1ms);
      channel<int> ch(1);
      ch.send(1);
      shielded.go([] { this_fiber::sleep_for(1ms); });
      shielded.join();
    }
    EXPECT_THROW(this_fiber::yield(), cancelled);
    outer.join();
  });
}

TEST_P(scope_test, a_shield_has_its_own_deadline_and_cancel) {
  run([] {
    {
      scope s{.deadline = 2ms, .shield = true};
      EXPECT_THROW(this_fiber::sleep_for(24h), cancelled);
      EXPECT_THROW(s.join(), timed_out);
    }
    scope s{.shield = true};
    s.cancel();
    EXPECT_THROW(this_fiber::yield(), cancelled);
    s.join();
  });
}

TEST_P(scope_test, a_stopped_fiber_cancels_the_scopes_it_has_opened) {
  run([] {
    std::atomic<int> stopped{0};
    fiber f = spawn([&] {
      scope a;
      a.go([&] { sleep_until_cancelled(stopped); });
      scope b;
      b.go([&] { sleep_until_cancelled(stopped); });
      this_fiber::sleep_for(24h);
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_EQ(stopped, 2);
  });
}

TEST_P(scope_test, a_fiber_that_is_spawned_in_a_scope_is_not_its_child) {
  run([] {
    std::atomic<bool> went_on{false};
    fiber f;
    {
      scope s;
      f = spawn([&] {
        this_fiber::sleep_for(2 * a_moment);
        went_on = true;
      });
      s.cancel();
      s.join();
    }
    f.join();
    EXPECT_TRUE(went_on);
  });
}

TEST_P(scope_test, what_a_child_captured_does_not_outlive_the_scope) {
  run([] {
    for (int i = 0; i < 100; ++i) {
      auto owned = std::make_shared<int>(1);
      scope s;
      for (int k = 0; k < 4; ++k) s.go([owned] { this_fiber::yield(); });
      s.join();
      EXPECT_EQ(owned.use_count(), 1);
    }
  });
}

TEST_P(scope_test, with_scope_absorbs_its_own_cancellation_only) {
  run([] {
    with_scope(24h, [](scope& s) {
      s.cancel();
      this_fiber::yield();
      ADD_FAILURE() << "not cancelled";
    });
    EXPECT_THROW(with_scope(2ms, [](scope&) { this_fiber::sleep_for(24h); }), timed_out);
    EXPECT_THROW(with_scope(24h, [](scope&) { throw std::runtime_error("body"); }), std::runtime_error);
    std::atomic<int> ended{0};
    with_scope(24h, [&](scope& s) {
      for (int i = 0; i < 5; ++i) s.go([&] { ++ended; });
    });
    EXPECT_EQ(ended, 5);
    bool passed = false;
    fiber f = spawn([&] {
      try {
        with_scope(24h, [](scope&) { this_fiber::sleep_for(24h); });
      } catch (const cancelled&) {
        passed = true;
      }
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_TRUE(passed);
  });
}

TEST(scope, needs_a_fiber) { EXPECT_THROW(scope s, std::logic_error); }

TEST(cancelled_type, is_no_std_exception) {
  static_assert(!std::is_base_of_v<std::exception, cancelled>);
  static_assert(std::is_base_of_v<std::exception, timed_out>);
}

// Deadlines that fire while their scope closes: neither a late cancellation nor a timer that outlives the scope.
TEST_P(scope_test, deadlines_race_with_joins) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      try {
        scope s{.deadline = std::chrono::microseconds(i % 60)};
        s.go([] { this_fiber::yield(); });
        s.join();
      } catch (const timed_out&) {
      }
      EXPECT_FALSE(this_fiber::stop_requested());
    }
  });
}

TEST_P(scope_test, cancel_races_with_children_that_end_and_start) {
  run([] {
    for (int i = 0; i < 100; ++i) {
      std::atomic<int> started{0}, ended{0};
      scope s;
      for (int k = 0; k < 8; ++k)
        s.go([&] {
          ++started;
          try {
            s.go([&] {
              ++started;
              ++ended;
            });
            this_fiber::yield();
          } catch (const cancelled&) {
          }
          ++ended;
        });
      fiber f = spawn([&] { s.cancel(); });
      s.join();
      f.join();
      EXPECT_EQ(started, 16);
      EXPECT_EQ(ended, 16);
    }
  });
}

}  // namespace
}  // namespace thrum
