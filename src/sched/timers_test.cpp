// Timers: exact order, cancelling wherever a timer may lie, the far future, and a comparison with a simple
// model.
#include "sched/timers.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.hpp"
#include "context/sanitizer.hpp"

namespace thrum::sched {
namespace {

constexpr std::int64_t us = 1000, ms = 1000 * us, second = 1000 * ms, hour = 3600 * second, day = 24 * hour;
constexpr std::int64_t year = 365 * day;
constexpr std::int64_t start = 1'000'000'123;  // The clock's time at the beginning of each test: no round number.

struct test_timer : timer {
  explicit test_timer(std::vector<test_timer*>* fired = nullptr) : log(fired) {
    callback = [](timer& t, runnable_batch&) noexcept {
      auto& self = static_cast<test_timer&>(t);
      self.fired = true;
      if (self.log) self.log->push_back(&self);
    };
  }
  std::vector<test_timer*>* log;
  std::atomic<bool> fired{false};
};

class timers : public ::testing::Test {
 protected:
  bool arm(test_timer& t, std::int64_t when) {
    t.when = when;
    return set.arm(t, now);
  }
  void advance_to(std::int64_t time) {
    now = time;
    runnable_batch out;
    set.fire_due(now, out);
    EXPECT_TRUE(out.empty());
  }
  // As a worker does: sleeps until the set wants to be looked at, again and again.
  void sleep_until(std::int64_t time) {
    while (set.next_deadline() <= time) advance_to(std::max(now, set.next_deadline()));
    advance_to(time);
  }

  timer_set set;
  std::int64_t now = start;
  std::vector<test_timer*> fired;
};

TEST_F(timers, empty_has_no_deadline) {
  EXPECT_EQ(set.next_deadline(), never);
  EXPECT_EQ(set.count(), 0u);
  advance_to(start + year);
}

TEST_F(timers, fires_not_a_nanosecond_early) {
  for (const std::int64_t delay : {std::int64_t{1}, us, ms, 5 * ms, 100 * ms, 10 * second, hour, day, 30 * day}) {
    test_timer t;
    arm(t, now + delay);
    const auto due = t.when;
    sleep_until(due - 1);
    EXPECT_FALSE(t.fired) << delay;
    EXPECT_EQ(set.count(), 1u);
    advance_to(due);
    EXPECT_TRUE(t.fired) << delay;
    EXPECT_EQ(set.count(), 0u);
    EXPECT_EQ(set.next_deadline(), never);
  }
}

TEST_F(timers, fires_at_once_what_is_past_already) {
  test_timer t;
  arm(t, now - hour);
  advance_to(now);
  EXPECT_TRUE(t.fired);
}

TEST_F(timers, tells_the_earliest_deadline_exactly_when_it_is_near) {
  test_timer near, nearer, far;
  EXPECT_TRUE(arm(near, now + 900 * us));
  EXPECT_EQ(set.next_deadline(), now + 900 * us);
  EXPECT_FALSE(arm(far, now + hour));
  EXPECT_TRUE(arm(nearer, now + 10 * us));
  EXPECT_EQ(set.next_deadline(), now + 10 * us);
  timer_set::cancel(near);
  timer_set::cancel(nearer);
  timer_set::cancel(far);
}

TEST_F(timers, is_never_looked_at_later_than_the_earliest_timer) {
  test_timer far;
  arm(far, now + 40 * day);
  EXPECT_LE(set.next_deadline(), far.when);
  int looks = 0;
  for (; !far.fired; ++looks) advance_to(set.next_deadline());
  EXPECT_EQ(now, far.when);
  EXPECT_LE(looks, 12);  // Once for each level or so.
}

TEST_F(timers, fires_in_the_order_of_deadlines_however_far_apart) {
  std::vector<std::unique_ptr<test_timer>> all;
  base::rng random(3);
  for (int i = 0; i < 2000; ++i) {
    all.push_back(std::make_unique<test_timer>(&fired));
    arm(*all.back(), now + static_cast<std::int64_t>(random.next() >> (14 + random.below(48))));
  }
  sleep_until(now + 40 * year);
  ASSERT_EQ(fired.size(), all.size());
  for (std::size_t i = 1; i < fired.size(); ++i) ASSERT_LE(fired[i - 1]->when, fired[i]->when);
}

TEST_F(timers, fires_in_order_also_when_looked_at_late) {
  std::vector<std::unique_ptr<test_timer>> all;
  for (int i = 0; i < 500; ++i) {
    all.push_back(std::make_unique<test_timer>(&fired));
    arm(*all.back(), now + (i * 7919 % 500) * 3 * ms);
  }
  advance_to(now + hour);
  ASSERT_EQ(fired.size(), all.size());
  for (std::size_t i = 1; i < fired.size(); ++i) EXPECT_LE(fired[i - 1]->when, fired[i]->when);
}

// A waiter stands in a queue already when it arms its timer: that must not fail.
static_assert(noexcept(std::declval<timer_set&>().arm(std::declval<timer&>(), 0)));

TEST_F(timers, fires_a_crowd_that_is_due_in_the_same_millisecond_in_order) {
  constexpr std::size_t n = 20'000;
  base::rng random(11);
  for (const int order : {0, 1, 2}) {
    std::vector<test_timer> all(n);
    fired.clear();
    for (std::size_t i = 0; i < n; ++i) {
      all[i].log = &fired;
      const std::size_t place = order == 0 ? i : order == 1 ? n - i : random.below(n);
      arm(all[i], now + 2 * ms + static_cast<std::int64_t>(place));
    }
    for (std::size_t i = 0; i < n; i += 3) timer_set::cancel(all[i]);
    sleep_until(now + 3 * ms);
    ASSERT_EQ(fired.size(), n - (n + 2) / 3);
    for (std::size_t i = 1; i < fired.size(); ++i) ASSERT_LE(fired[i - 1]->when, fired[i]->when);
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(all[i].fired, i % 3 != 0);
  }
}

TEST_F(timers, can_be_cancelled_on_every_level_and_armed_again) {
  for (const std::int64_t delay :
       {us, ms, 10 * ms, 100 * ms, 6 * second, 10 * 60 * second, 10 * hour, 60 * day, 4 * year, 200 * year}) {
    test_timer t;
    arm(t, now + delay);
    EXPECT_EQ(set.count(), 1u);
    timer_set::cancel(t);
    EXPECT_EQ(set.count(), 0u) << delay;
    EXPECT_EQ(set.next_deadline(), never) << delay;
    timer_set::cancel(t);  // Not armed: nothing happens.
    arm(t, now + delay);
    EXPECT_EQ(set.count(), 1u);
    timer_set::cancel(t);
    EXPECT_FALSE(t.fired);
  }
}

TEST_F(timers, cancelling_one_leaves_its_neighbours_alone) {
  for (const std::int64_t delay : {us, 20 * ms, second, hour, 3 * year}) {
    for (int victim = 0; victim < 3; ++victim) {
      test_timer t[3];
      for (auto& one : t) arm(one, now + delay);
      timer_set::cancel(t[victim]);
      EXPECT_EQ(set.count(), 2u);
      sleep_until(now + delay);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(t[i].fired, i != victim) << delay;
    }
  }
}

TEST_F(timers, fires_what_lies_more_than_two_years_ahead) {
  for (const auto years : {2, 3, 10, 250}) {
    test_timer t;
    arm(t, now + years * year);
    sleep_until(t.when - 1);
    EXPECT_FALSE(t.fired);
    sleep_until(t.when);
    EXPECT_TRUE(t.fired) << years;
    if (now > start + 100 * year) break;  // The clock ends after 292 years.
  }
}

TEST_F(timers, a_timer_at_the_end_of_time_neither_fires_nor_disturbs) {
  test_timer last, soon;
  arm(last, never - 1);
  arm(soon, now + ms);
  sleep_until(now + 100 * year);
  EXPECT_TRUE(soon.fired);
  EXPECT_FALSE(last.fired);
  timer_set::cancel(last);
  EXPECT_EQ(set.count(), 0u);
}

TEST_F(timers, starts_anew_after_having_been_empty_for_long) {
  test_timer t;
  for (int i = 0; i < 20; ++i) {
    now += 1000 * day + i * 12345;
    arm(t, now + 3 * ms);
    t.fired = false;
    sleep_until(now + 3 * ms);
    EXPECT_TRUE(t.fired);
  }
}

TEST_F(timers, a_callback_may_arm_and_cancel_others) {
  struct chain : test_timer {
    timer_set* set = nullptr;
    test_timer* to_cancel = nullptr;
    test_timer* to_arm = nullptr;
  } t;
  test_timer cancelled, armed;
  t.set = &set;
  t.to_cancel = &cancelled;
  t.to_arm = &armed;
  t.callback = [](timer& self, runnable_batch&) noexcept {
    auto& c = static_cast<chain&>(self);
    timer_set::cancel(*c.to_cancel);
    c.to_arm->when = c.when;  // Due at once.
    c.set->arm(*c.to_arm, c.when);
  };
  arm(t, now + 10);
  arm(cancelled, now + 20);
  advance_to(now + hour);
  EXPECT_FALSE(cancelled.fired);
  EXPECT_TRUE(armed.fired);
  EXPECT_EQ(set.count(), 0u);
}

TEST_F(timers, claims_the_episode_it_was_armed_for_and_no_other) {
  waiter w(waiter_kind::thread);
  timer t;
  t.who = &w;
  t.episode = w.open_episode(true);
  t.when = now + ms;
  set.arm(t, now);
  advance_to(now + ms);
  EXPECT_EQ(w.code(), claim_code::timed_out);
  w.close_episode();

  t.episode = w.open_episode(true);
  t.when = now + ms;
  set.arm(t, now);
  w.claim(claim_code::first_clause);
  w.close_episode();
  w.open_episode(true);
  advance_to(now + ms);
  EXPECT_FALSE(w.claimed());
  w.claim(claim_code::first_clause);
  w.close_episode();
}

// ---------------------------------------------------------------------------------------------------------------
// Against a model that is obviously right.

class model_test : public timers, public ::testing::WithParamInterface<unsigned> {
 protected:
  static constexpr std::size_t timers_max = 400;

  void step() {
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
      case 3:
        arm_one();
        break;
      case 4:
      case 5:
        cancel_one();
        break;
      default:
        let_time_pass();
        break;
    }
    ASSERT_EQ(set.count(), model.size());
    ASSERT_LE(set.next_deadline(), model.empty() ? never : model.begin()->first);
  }

  std::int64_t some_time() { return static_cast<std::int64_t>(random.next() >> (10 + random.below(54))); }

  void arm_one() {
    auto& t = all[random.below(timers_max)];
    if (armed(t)) return;
    t.fired = false;
    arm(t, now + some_time() / 8);
    model.emplace(t.when, &t);
  }
  void cancel_one() {
    auto& t = all[random.below(timers_max)];
    timer_set::cancel(t);
    forget(t);
  }
  void let_time_pass() {
    fired.clear();
    const auto time = now + (random.below(4) ? some_time() / 1024 : some_time() / 8);
    if (random.below(2))
      sleep_until(time);
    else
      advance_to(time);
    auto due = model.begin();
    for (auto* t : fired) {
      ASSERT_NE(due, model.end());
      ASSERT_EQ(t->when, due->first);
      due = std::next(due);
    }
    ASSERT_TRUE(due == model.end() || due->first > now);
    model.erase(model.begin(), due);
  }

  bool armed(const test_timer& t) const {
    const auto [first, last] = model.equal_range(t.when);
    return std::any_of(first, last, [&](const auto& entry) { return entry.second == &t; });
  }
  void forget(const test_timer& t) {
    const auto [first, last] = model.equal_range(t.when);
    const auto found = std::find_if(first, last, [&](const auto& entry) { return entry.second == &t; });
    if (found != last) model.erase(found);
  }

  base::rng random{GetParam() + 1};
  std::multimap<std::int64_t, test_timer*> model;
  std::vector<test_timer> all = std::vector<test_timer>(timers_max);
};

// Near ones and far ones, whose way leads through the wheel.
TEST_F(timers, with_a_source_of_chance_those_of_one_instant_fire_in_every_order) {
  seeded_source chance{base::rng(1)};
  set.break_ties_by(chance);
  std::array<test_timer, 3> three{test_timer(&fired), test_timer(&fired), test_timer(&fired)};
  test_timer earlier(&fired), later(&fired);
  for (const auto away : {10 * us, hour}) {
    std::map<std::vector<test_timer*>, int> seen;
    for (int i = 0; i < 600; ++i) {
      fired.clear();
      const auto when = now + away;
      arm(later, when + 1);
      for (auto& t : three) arm(t, when);
      arm(earlier, when - 1);
      sleep_until(when + 1);
      ASSERT_EQ(fired.size(), 5u);
      EXPECT_EQ(fired.front(), &earlier);
      EXPECT_EQ(fired.back(), &later);
      ++seen[{fired.begin() + 1, fired.end() - 1}];
    }
    EXPECT_EQ(seen.size(), 6u);
    for (const auto& [order, times] : seen) EXPECT_GT(times, 20);
  }
}

TEST_P(model_test, behaves_as_an_ordered_map_would) {
  for (auto& t : all) t.log = &fired;
  for (int i = 0; i < 20'000 && now < 200 * year && !HasFatalFailure(); ++i) step();
  for (auto& t : all) timer_set::cancel(t);
  EXPECT_EQ(set.count(), 0u);
}

INSTANTIATE_TEST_SUITE_P(seeds, model_test, ::testing::Range(0u, 8u));

// ---------------------------------------------------------------------------------------------------------------

// After cancel() has returned the timer may go away, although another thread was about to fire it.
TEST(timer_race, a_cancelled_timer_neither_is_nor_will_be_used) {
  timer_set set;
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> clock{start};
  std::thread server([&] {
    while (!over.load()) {
      runnable_batch out;
      set.fire_due(clock.fetch_add(100), out);
    }
  });
  base::rng random(5);
  int fired = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  for (int i = 0; i < 100 || std::chrono::steady_clock::now() < end; ++i) {
    auto t = std::make_unique<test_timer>();
    const auto now = clock.load();
    t->when = now + random.below(2000);
    set.arm(*t, now);
    for (const auto until = now + random.below(3000); clock.load() < until;) std::this_thread::yield();
    timer_set::cancel(*t);
    fired += t->fired;
  }
  over.store(true);
  server.join();
  EXPECT_EQ(set.count(), 0u);
  EXPECT_GT(fired, 0);
}

// Several threads arm and cancel while one fires: each timer fires once or has been cancelled.
TEST(timer_race, many_arm_and_cancel_while_one_fires) {
  timer_set set;
  std::atomic<int> running{3};
  std::atomic<std::int64_t> clock{start};
  std::vector<std::thread> users;
  for (unsigned u = 0; u < 3; ++u) {
    users.emplace_back([&, u] {
      base::rng random(u + 1);
      std::vector<test_timer> mine(50);
      for (int i = 0; i < 300; ++i) {
        for (auto& t : mine) {
          t.fired = false;
          t.when = clock.load() + random.below(50'000'000);
          set.arm(t, clock.load());
        }
        for (auto& t : mine) {
          if (random.below(2))
            timer_set::cancel(t);
          else
            while (!t.fired.load()) std::this_thread::yield();
          timer_set::cancel(t);
        }
      }
      running.fetch_sub(1);
    });
  }
  while (running.load() > 0) {
    runnable_batch out;
    set.fire_due(clock.fetch_add(200'000), out);
  }
  for (auto& u : users) u.join();
  EXPECT_EQ(set.count(), 0u);
}

}  // namespace
}  // namespace thrum::sched
