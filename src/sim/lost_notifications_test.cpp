// Wake-ups that a program forgets where it waits for an address, or with a condition_variable_any: they are found, and
// who rightly sleeps on is not accused.
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>

#include <thrum/sim.hpp>
#include <thrum/task_sync.hpp>

#include "sim/expect_lost.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// ---------------------------------------------------------------------------------------------------------------
// Addresses.

constexpr const char* changed_word = ", which has another value by now";

using word = std::atomic<int>;

// One waits for the word to change, the other changes it.
std::function<void()> of_two(void (*changes)(word&)) {
  return [changes] {
    word w{0};
    scope s;
    s.go([&] { wait_on_address(w, 0); });
    s.go([&] { changes(w); });
    s.join();
  };
}

TEST(lost_wake_ups, by_address_are_those_that_nobody_sends) {
  const auto forgets = of_two([](word& w) { w = 1; });
  expect_lost(forgets, " waits for an address 0x");
  expect_lost(forgets, changed_word);
  expect_well(of_two([](word& w) {
    w = 1;
    wake_by_address_one(w);
  }));
}

TEST(lost_wake_ups, by_address_are_those_that_come_before_the_change) {
  expect_lost(of_two([](word& w) {
                wake_by_address_all(w);
                this_fiber::yield();
                w = 1;
              }),
              changed_word);
  expect_well(of_two([](word& w) {
    w = 1;
    this_fiber::yield();
    wake_by_address_all(w);
  }));
}

TEST(lost_wake_ups, by_address_are_found_in_tasks) {
  const auto program = [](bool wakes) {
    return [wakes] {
      word w{0};
      auto t = spawn([](word& of) -> task<> { co_await async_wait_on_address(of, 0); }(w));
      this_fiber::sleep_for(1ms);
      w = 1;
      if (wakes) wake_by_address_all(w);
      t.join();
    };
  };
  expect_lost(program(false), changed_word);
  expect_lost(program(false), "  task ");
  expect_well(program(true));
}

// An atomic may hold more than what is waited for; and who is to wake may come as late as it likes.
TEST(lost_wake_ups, by_address_are_found_in_the_end_but_not_while_others_go_on) {
  const auto program = [](bool wakes) {
    return [wakes] {
      word w{0};
      scope s;
      s.go([&] { wait_on_address(w, 0); });
      s.go([&] {
        w = 1;
        for (int second = 0; second < 60; ++second) this_fiber::sleep_for(1s);
        if (wakes) wake_by_address_all(w);
      });
      s.join();
    };
  };
  expect_well(program(true));
  expect_lost(program(false), changed_word);
}

TEST(lost_wake_ups, by_address_have_not_hit_who_polls_or_waits_for_another_word) {
  const auto polls = [] {
    word w{0};
    scope s;
    s.go([&] {
      while (!wait_on_address_for(w, 0, 1min)) {
      }
    });
    w = 1;
    s.join();
  };
  expect_well(polls);
  const auto unchanged = [] {
    word mine{0}, others{0};
    scope s;
    s.go([&] { wait_on_address(mine, 0); });
    others = 1;
    s.join();
  };
  expect_failure_of_another_kind(unchanged);
}

// Each job is announced to one of the idle, and whoever is not needed sleeps on, although the count has changed.
TEST(lost_wake_ups, by_address_have_not_hit_who_is_left_when_one_is_woken) {
  const auto idle_crew = [] {
    word jobs{0};
    std::atomic<bool> closing{false};
    scope s;
    for (int i = 0; i < 3; ++i)
      s.go([&] {
        while (!closing) wait_on_address(jobs, jobs.load());
      });
    for (int i = 0; i < 3; ++i) {
      this_fiber::sleep_for(1min);
      ++jobs;
      wake_by_address_one(jobs);
    }
    this_fiber::sleep_for(1h);
    closing = true;
    ++jobs;
    wake_by_address_all(jobs);
    s.join();
  };
  expect_well(idle_crew);
}

// ---------------------------------------------------------------------------------------------------------------
// Conditions beside any lock.

constexpr const char* held_predicate = ", although the predicate holds";

struct hall {
  shared_mutex m;
  condition_variable_any changed;
  bool open = false;

  void set_open() {
    std::lock_guard hold(m);
    open = true;
  }
};

std::function<void()> waits_with(void (*waits)(hall&), bool notifies) {
  return [waits, notifies] {
    hall h;
    scope s;
    s.go([&] { waits(h); });
    s.go([&] {
      h.set_open();
      if (notifies) h.changed.notify_all();
    });
    s.join();
  };
}

// The same program with and without its notification.
void expect_lost_without_notification(void (*waits)(hall&)) {
  expect_lost(waits_with(waits, false), " waits for a condition variable 0x");
  expect_lost(waits_with(waits, false), held_predicate);
  expect_well(waits_with(waits, true));
}

TEST(lost_wake_ups, of_who_waits_with_a_shared_mutex) {
  expect_lost_without_notification([](hall& h) {
    std::unique_lock hold(h.m);
    h.changed.wait(hold, [&] { return h.open; });
  });
  expect_lost_without_notification([](hall& h) {
    std::shared_lock hold(h.m);
    h.changed.wait(hold, [&] { return h.open; });
  });
}

TEST(lost_wake_ups, of_tasks_that_wait_with_a_shared_mutex) {
  expect_lost_without_notification([](hall& h) {
    spawn([](hall& of) -> task<> {
      co_await of.m.async_lock_shared();
      std::shared_lock hold(of.m, std::adopt_lock);
      co_await of.changed.async_wait(hold, [&of] { return of.open; });
    }(h))
        .join();
  });
  expect_lost_without_notification([](hall& h) {
    spawn([](hall& of) -> task<> {
      co_await of.m.async_lock();
      std::unique_lock hold(of.m, std::adopt_lock);
      co_await of.changed.async_wait(hold, [&of] { return of.open; });
    }(h))
        .join();
  });
}

TEST(lost_wake_ups, have_not_hit_who_waits_for_a_shared_mutex_that_is_held) {
  const auto program = [] {
    hall h;
    scope s;
    s.go([&] {
      std::unique_lock hold(h.m);
      h.changed.wait(hold, [&] { return h.open; });
    });
    s.go([&] {
      std::unique_lock hold(h.m);
      h.open = true;
      this_fiber::sleep_for(1h);
      h.changed.notify_all();
    });
    s.join();
  };
  expect_well(program);
}

// Who is told may be another one; without a predicate nobody knows what is waited for.
TEST(lost_wake_ups, have_not_hit_who_waits_without_a_predicate) {
  const auto program = [] {
    hall h;
    scope s;
    for (int i = 0; i < 2; ++i)
      s.go([&] {
        std::unique_lock hold(h.m);
        h.changed.wait(hold);
      });
    this_fiber::sleep_for(1s);
    h.changed.notify_one();
    s.join();
  };
  expect_failure_of_another_kind(program);
}

// A lock that can only be waited for is not taken by who looks.
TEST(lost_wake_ups, have_not_hit_who_waits_with_a_lock_that_cannot_be_tried) {
  struct plain_lock {
    mutex m;
    void lock() { m.lock(); }
    void unlock() { m.unlock(); }
  };
  const auto program = [] {
    plain_lock l;
    condition_variable_any changed;
    bool open = false;
    scope s;
    s.go([&] {
      std::lock_guard hold(l);
      changed.wait(l, [&] { return open; });
    });
    this_fiber::sleep_for(1s);
    l.lock();
    open = true;
    l.unlock();
    s.join();
  };
  expect_failure_of_another_kind(program);
}

template <class Mutex>
std::function<void()> waits_for_guarded(bool as_task, bool guards) {
  return [=] {
    guarded<int, Mutex> value(0);
    bool set = false;
    const auto is_there = [&](const int& v) { return v == 1 || set; };
    scope s;
    s.go([&] {
      if (!as_task) return (void)value.wait(is_there);
      spawn([](auto& of, auto holds) -> task<> { (void)co_await async_wait(of, holds); }(value, is_there)).join();
    });
    s.go([&] {
      this_fiber::sleep_for(1ms);
      set = true;
      if (guards) *value.lock() = 1;
    });
    s.join();
  };
}

TEST(lost_wake_ups, of_who_waits_for_guarded_data_of_either_mutex) {
  for (const bool as_task : {false, true}) {
    expect_lost(waits_for_guarded<shared_mutex>(as_task, false), held_predicate);
    expect_well(waits_for_guarded<shared_mutex>(as_task, true));
    expect_lost(waits_for_guarded<mutex>(as_task, false), held_predicate);
    expect_well(waits_for_guarded<mutex>(as_task, true));
  }
}

}  // namespace
}  // namespace thrum
