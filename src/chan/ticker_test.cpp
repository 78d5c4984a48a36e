// What ticker.hpp promises. Ticks are judged by their own times, not by when they arrive.
#include <thrum/ticker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <thrum/channel.hpp>
#include <thrum/scope.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class ticker_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, ticker_test, worker_counts, count_name);
class timer_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, timer_test, worker_counts, count_name);

tick_time now() { return std::chrono::steady_clock::now(); }

TEST_P(ticker_test, ticks_are_whole_periods_apart_and_never_early) {
  run([] {
    const auto start = now();
    ticker every(1ms);
    std::optional<tick_time> before;
    for (int i = 0; i < 10; ++i) {
      const auto due = every.receive();
      ASSERT_TRUE(due);
      EXPECT_LE(*due, now());
      EXPECT_GE(*due, start + 1ms);
      if (before) {
        EXPECT_GT(*due, *before);
        EXPECT_EQ((*due - *before) % 1ms, 0ms);
      }
      before = due;
    }
  });
}

TEST_P(ticker_test, a_slow_receiver_gets_one_of_the_ticks_it_has_missed) {
  run([] {
    ticker every(2ms);
    const auto first = *every.receive();
    this_fiber::sleep_until(first + 11ms);
    const auto woken = now();
    const auto kept = *every.receive();
    EXPECT_GT(kept, first);
    EXPECT_LE(kept, woken);  // One of those that were missed,
    const auto next = *every.receive();
    EXPECT_GE(next, first + 12ms);  // and then what is yet to come.
    EXPECT_EQ((kept - first) % 2ms, 0ms);
    EXPECT_EQ((next - first) % 2ms, 0ms);
  });
}

TEST_P(ticker_test, in_a_select_it_takes_turns_with_channels) {
  run([] {
    ticker every(500us);
    channel<int> ch(0);
    scope s;
    s.go([&] {
      for (int i = 0; i < 20; ++i) {
        ch.send(i);
        this_fiber::sleep_for(200us);
      }
      ch.close();
    });
    int ticks = 0, values = 0;
    bool open = true;
    while (open || ticks < 5)
      select(every.on_receive([&](std::optional<tick_time> due) { ticks += due.has_value(); }),
             (open ? ch : channel<int>()).on_receive([&](auto v) { v ? void(++values) : void(open = false); }));
    EXPECT_EQ(values, 20);
    s.join();
  });
}

TEST_P(ticker_test, a_clause_may_be_used_again) {
  run([] {
    ticker every(500us);
    int ticks = 0;
    auto tick = every.on_receive([&](auto due) { ticks += due.has_value(); });
    while (ticks < 5) select(tick);
  });
}

TEST_P(ticker_test, stop_ends_it_for_those_who_wait_and_later) {
  run([] {
    ticker every(24h);
    std::atomic<int> ended{0};
    scope s;
    for (int i = 0; i < 3; ++i)
      s.go([&] {
        EXPECT_EQ(every.receive(), std::nullopt);
        ++ended;
      });
    s.go([&] {
      select(every.on_receive([&](auto due) { EXPECT_FALSE(due); }));
      ++ended;
    });
    std::thread t([&] {
      for (auto due : every) (void)due;
      ++ended;
    });
    settle();
    EXPECT_EQ(ended, 0);
    EXPECT_TRUE(every.stop());
    s.join();
    t.join();
    EXPECT_EQ(ended, 5);
    EXPECT_FALSE(every.stop());
    EXPECT_EQ(every.receive(), std::nullopt);
    EXPECT_EQ(every.try_receive(), std::nullopt);
  });
}

TEST_P(ticker_test, stop_drops_a_tick_that_nobody_has_taken) {
  run([] {
    ticker every(1ms);
    const auto first = *every.receive();
    scope s;
    s.go([&] { (void)every.receive(); });  // Keeps the timer going.
    this_fiber::sleep_until(first + 5ms);
    s.join();
    every.stop();
    EXPECT_EQ(every.try_receive(), std::nullopt);
  });
}

TEST_P(ticker_test, reset_starts_anew_also_for_those_who_wait) {
  run([] {
    ticker every(24h);
    fiber f = spawn([&] { EXPECT_TRUE(every.receive()); });
    settle();
    const auto restarted = now();
    every.reset(1ms);
    f.join();
    EXPECT_GE(*every.receive(), restarted + 2ms);
    every.stop();
    every.reset(500us);
    EXPECT_TRUE(every.receive());
    every.reset(24h);
    EXPECT_EQ(every.receive_for(2ms), std::nullopt);
  });
}

TEST_P(ticker_test, each_tick_goes_to_one_receiver) {
  run([] {
    ticker every(300us);
    std::vector<std::vector<tick_time>> got(4);
    scope s;
    for (auto& mine : got)
      s.go([&] {
        for (int i = 0; i < 10; ++i) mine.push_back(*every.receive());
      });
    s.join();
    std::set<tick_time> all;
    for (auto& mine : got) {
      EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
      all.insert(mine.begin(), mine.end());
    }
    EXPECT_EQ(all.size(), 40u);
  });
}

TEST_P(ticker_test, serves_plain_threads_and_fibers_of_another_runtime) {
  run([] {
    ticker every(500us);
    std::thread plain([&] {
      for (int i = 0; i < 5; ++i) EXPECT_TRUE(every.receive());
    });
    std::thread other([&] {
      with_workers(1, [&] {
        for (int i = 0; i < 5; ++i) EXPECT_TRUE(every.receive());
        select(every.on_receive([](auto due) { EXPECT_TRUE(due); }));
      });
    });
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(every.receive());
    plain.join();
    other.join();
  });
}

TEST_P(ticker_test, copies_are_the_same_ticker) {
  run([] {
    auto every = std::make_unique<ticker>(24h);
    ticker copy = *every;
    every.reset();
    copy.reset(1ms);
    EXPECT_TRUE(copy.receive());
    ticker moved = std::move(copy);
    EXPECT_TRUE(copy.stop());
    EXPECT_EQ(moved.receive(), std::nullopt);
  });
}

TEST_P(ticker_test, a_cancelled_receive_takes_no_tick) {
  run([] {
    for (int i = 0; i < 30; ++i) {
      timer once(std::chrono::microseconds(50 * (i % 10)));
      std::atomic<bool> got{false};
      fiber f = spawn([&] { got = once.receive().has_value(); });
      if (i % 2) this_fiber::sleep_for(std::chrono::microseconds(100 + 20 * i));
      f.request_stop();
      f.join();
      const auto later = once.receive();
      EXPECT_NE(got.load(), later.has_value()) << "lost or doubled";
    }
  });
}

TEST_P(ticker_test, while_nobody_waits_there_is_no_timer) {
  with_runtime({.workers = GetParam()}, [](runtime& rt) {
    ticker every(1ms);
    EXPECT_EQ(rt.stats().timers, 0u);
    (void)every.receive();
    EXPECT_EQ(rt.stats().timers, 0u);
    select(every.on_receive([](auto) {}), after(0s, [] {}));
    (void)every.receive_for(0s);
    EXPECT_EQ(rt.stats().timers, 0u);
    const auto fibers = rt.stats().fibers;
    std::vector<ticker> many;
    for (int i = 0; i < 100; ++i) many.emplace_back(1h);
    EXPECT_EQ(rt.stats().fibers, fibers);
  });
}

TEST_P(ticker_test, may_outlive_its_runtime_unused) {
  std::unique_ptr<ticker> every;
  run([&] {
    every = std::make_unique<ticker>(1ms);
    (void)every->receive();
  });
  every.reset();
}

TEST_P(ticker_test, a_period_must_be_positive_and_may_be_huge) {
  run([] {
    EXPECT_THROW(ticker(0ms), std::invalid_argument);
    EXPECT_THROW(ticker(-1ms), std::invalid_argument);
    ticker hardly_ever(std::chrono::hours::max());
    EXPECT_EQ(hardly_ever.receive_for(1ms), std::nullopt);
    EXPECT_THROW(hardly_ever.reset(0s), std::invalid_argument);
    EXPECT_EQ(hardly_ever.receive_for(1ms), std::nullopt);
  });
}

TEST(ticker_without_a_runtime, is_refused) {
  EXPECT_THROW(ticker(1ms), std::logic_error);
  EXPECT_THROW((void)after(1ms), std::logic_error);
}

TEST_P(ticker_test, stops_and_resets_race_with_ticks) {
  run([] {
    ticker every(20us);
    std::atomic<bool> done{false};
    std::atomic<int> got{0};
    scope s;
    for (int i = 0; i < 3; ++i)
      s.go([&] {
        while (!done) {
          if (every.receive_for(1ms)) ++got;
          select(every.on_receive([&](auto due) { got += due.has_value(); }), after(300us, [] {}));
          this_fiber::yield();
        }
      });
    for (int i = 0; i < 200; ++i) {
      i % 2 ? void(every.stop()) : every.reset(std::chrono::microseconds(1 + i % 50));
      if (i % 8 == 0) this_fiber::sleep_for(100us);
    }
    every.reset(10us);
    EXPECT_TRUE(eventually([&] { return got > 10; }));
    done = true;
    s.join();
  });
}

// ---------------------------------------------------------------------------------------------------------------

TEST_P(timer_test, has_one_tick_and_then_ends) {
  run([] {
    const auto start = now();
    timer once(1ms);
    const auto due = once.receive();
    ASSERT_TRUE(due);
    EXPECT_GE(*due, start + 1ms);
    EXPECT_LE(*due, now());
    EXPECT_EQ(once.receive(), std::nullopt);
    int ticks = 0;
    for (auto t : after(500us)) ticks += t <= now();
    EXPECT_EQ(ticks, 1);
    EXPECT_TRUE(at(now() - 1h).receive());
  });
}

TEST_P(timer_test, its_time_runs_while_nobody_waits) {
  run([] {
    const auto until = now() + 3ms;
    timer once(until);
    const auto early = once.try_receive();
    EXPECT_TRUE(!early || now() >= until);
    this_fiber::sleep_until(until);
    EXPECT_NE(early.has_value(), once.try_receive().has_value());
    EXPECT_EQ(once.try_receive(), std::nullopt);
  });
}

TEST_P(timer_test, bounds_several_selects_together) {
  run([] {
    channel<int> ch(0);
    scope s;
    s.go([&] {
      for (int i = 0;; ++i) {
        if (!ch.send_for(int(i), 5ms)) break;
        this_fiber::sleep_for(200us);
      }
    });
    auto patience = after(5ms);
    std::size_t chosen = 0;
    while (chosen == 0) {
      chosen = select(ch.on_receive([](auto) {}), patience.on_receive([](auto due) { EXPECT_TRUE(due); }));
    }
    EXPECT_EQ(chosen, 1u);
    s.join();
  });
}

TEST_P(timer_test, all_who_wait_see_its_tick_or_its_end) {
  run([] {
    timer once(3ms);
    std::atomic<int> ticks{0}, ends{0};
    scope s;
    for (int i = 0; i < 5; ++i) s.go([&] { once.receive() ? ++ticks : ++ends; });
    s.join();
    EXPECT_EQ(ticks, 1);
    EXPECT_EQ(ends, 4);
  });
}

TEST_P(timer_test, stop_tells_whether_there_was_a_tick_to_come) {
  run([] {
    timer once(24h);
    EXPECT_TRUE(once.stop());
    EXPECT_FALSE(once.stop());
    EXPECT_EQ(once.receive(), std::nullopt);
    once.reset(500us);
    EXPECT_TRUE(once.receive());
    EXPECT_FALSE(once.stop());
    once.reset(0s);
    EXPECT_TRUE(once.stop());  // Due, but not taken.
    EXPECT_EQ(once.try_receive(), std::nullopt);
  });
}

}  // namespace
}  // namespace thrum
