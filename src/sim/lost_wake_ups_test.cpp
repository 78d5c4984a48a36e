// Lost wake-ups: those that a program forgets, and those that thrum would have lost, are found; who waits for what is
// not there, or is told a little later, is not accused.
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/sim.hpp>
#include <thrum/task_sync.hpp>

#include "sched/fiber_end.hpp"
#include "sched/scheduler.hpp"
#include "sched/wait.hpp"
#include "sim/expect_lost.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// ---------------------------------------------------------------------------------------------------------------
// The program's.

constexpr const char* held_predicate = ", although the predicate holds";

struct door {
  mutex m;
  condition_variable changed;
  bool open = false;

  void wait() {
    std::unique_lock hold(m);
    changed.wait(hold, [this] { return open; });
  }
  void set_open() {
    std::lock_guard hold(m);
    open = true;
  }
};

// One waits, the other opens.
std::function<void()> of_two(void (*opens)(door&)) {
  return [opens] {
    door d;
    scope s;
    s.go([&] { d.wait(); });
    s.go([&] { opens(d); });
    s.join();
  };
}

TEST(lost_wake_ups, nobody_notifies) {
  expect_lost(of_two([](door& d) { d.set_open(); }), held_predicate);
}

TEST(lost_wake_ups, the_notification_comes_before_the_change) {
  expect_lost(of_two([](door& d) {
                d.changed.notify_one();
                d.set_open();
              }),
              held_predicate);
  expect_well(of_two([](door& d) {
    d.set_open();
    d.changed.notify_one();
  }));
}

// A place for one element, with one condition for those who put and those who take.
void hand_over_three(void (condition_variable::*notify)() noexcept) {
  mutex m;
  condition_variable changed;
  bool full = false;
  scope s;
  const auto change = [&](bool to) {
    for (int i = 0; i < 3; ++i) {
      std::unique_lock hold(m);
      changed.wait(hold, [&] { return full != to; });
      full = to;
      (changed.*notify)();
    }
  };
  for (int i = 0; i < 2; ++i) {
    s.go([&] { change(true); });
    s.go([&] { change(false); });
  }
  s.join();
}

TEST(lost_wake_ups, the_one_who_is_notified_is_of_the_other_kind) {
  expect_lost([] { hand_over_three(&condition_variable::notify_one); }, held_predicate);
  expect_well([] { hand_over_three(&condition_variable::notify_all); });
}

TEST(lost_wake_ups, the_predicate_is_of_something_that_is_not_guarded) {
  const auto program = [](bool guards) {
    return [guards] {
      guarded<int> value(0);
      bool set = false;
      scope s;
      s.go([&] { (void)value.wait([&](const int& v) { return v == 1 || set; }); });
      s.go([&] {
        this_fiber::sleep_for(1ms);
        set = true;
        if (guards) *value.lock() = 1;
      });
      s.join();
    };
  };
  expect_lost(program(false), held_predicate);
  expect_well(program(true));
}

TEST(lost_wake_ups, of_tasks) {
  const auto program = [](bool notifies) {
    return [notifies] {
      door d;
      auto t = spawn([](door& of) -> task<> {
        auto hold = co_await of.m.async_scoped_lock();
        co_await of.changed.async_wait(hold, [&of] { return of.open; });
      }(d));
      d.set_open();
      if (notifies) d.changed.notify_all();
      t.join();
    };
  };
  expect_lost(program(false), held_predicate);
  expect_lost(program(false), "  task ");
  expect_well(program(true));
}

// Something else goes on for ever, or ends it after a while.
TEST(lost_wake_ups, are_found_where_others_do_not_wait_for_ever) {
  const auto beside_a_ticker = [] {
    door d;
    scope s;
    s.go([&] {
      for (ticker every(1s);;) (void)every.receive();
    });
    s.go([&] { d.wait(); });
    this_fiber::sleep_for(1s);
    d.set_open();
    s.join();
  };
  expect_lost(beside_a_ticker, held_predicate);
  const auto with_a_deadline = [] {
    door d;
    scope s{.deadline = 60s};
    s.go([&] { d.wait(); });
    this_fiber::sleep_for(1s);
    d.set_open();
    EXPECT_THROW(s.join(), timed_out);
  };
  expect_lost(with_a_deadline, held_predicate);
}

std::function<void()> notifies_after(std::chrono::nanoseconds time) {
  return [time] {
    door d;
    scope s;
    s.go([&] { d.wait(); });
    s.go([&] {
      d.set_open();
      this_fiber::sleep_for(time);
      d.changed.notify_all();
    });
    s.join();
  };
}

TEST(lost_wake_ups, are_no_late_ones) {
  expect_well(notifies_after(9s));
  expect_lost(notifies_after(11s), held_predicate);
  expect_well(notifies_after(11s), {.lost_after = 1min});
}

TEST(lost_wake_ups, have_not_hit_who_polls_or_waits_for_a_lock) {
  const auto polls = [] {
    door d;
    scope s;
    s.go([&] {
      std::unique_lock hold(d.m);
      while (!d.changed.wait_for(hold, 1min, [&] { return d.open; })) {
      }
    });
    d.set_open();
    s.join();
  };
  expect_well(polls);
  const auto keeps_the_lock = [] {
    door d;
    scope s;
    s.go([&] { d.wait(); });
    s.go([&] {
      std::unique_lock hold(d.m);
      d.open = true;
      this_fiber::sleep_for(1h);
      d.changed.notify_all();
    });
    s.join();
  };
  expect_well(keeps_the_lock);
}

TEST(lost_wake_ups, are_not_what_every_deadlock_is) {
  expect_failure_of_another_kind(of_two([](door&) {}));
  const auto without_a_predicate = [] {
    door d;
    std::unique_lock hold(d.m);
    d.changed.wait(hold);
  };
  expect_failure_of_another_kind(without_a_predicate);
  const auto throws = [] {
    door d;
    int calls = 0;
    std::unique_lock hold(d.m);
    d.changed.wait(hold, [&] {
      if (++calls > 1) throw std::runtime_error("of the simulation's call");
      return false;
    });
  };
  expect_failure_of_another_kind(throws);
}

// ---------------------------------------------------------------------------------------------------------------
// thrum's own. One fiber waits as it should. Another one says that it waits for the same, but is in no queue: its
// wake-up is lost, whoever would wake it.

void wait_unheard(const sched::wait_reason& reason) { sched::wait_for_time(sched::never, reason); }

sched::wait_reason reason_of_who_waits_for(std::string_view what) {
  sched::wait_reason found{&sched::waits_for_nothing};
  sched::this_worker()->home.for_each_alive([&](const sched::activity& a) {
    if (a.word() & sched::waiter::parked_bit && what == a.reason.kind->what) found = a.reason;
  });
  EXPECT_NE(found.kind, &sched::waits_for_nothing) << what;
  return found;
}

struct wait_of_thrum {
  const char* what;
  const char* how;
  // Starts who waits as it should; the result brings what it waits for, for more than one.
  std::function<void()> (*arrange)(scope& s);
};

// The objects outlive all who wait.
template <class Object, class... Arguments>
std::shared_ptr<Object> kept(Arguments&&... arguments) {
  return std::make_shared<Object>(std::forward<Arguments>(arguments)...);
}

const wait_of_thrum all_waits[] = {
    {"a mutex", "which is free",
     [](scope& s) -> std::function<void()> {
       auto m = kept<mutex>();
       m->lock();
       s.go([m] { std::lock_guard hold(*m); });
       return [m] { m->unlock(); };
     }},
    {"a shared mutex", "which is free",
     [](scope& s) -> std::function<void()> {
       auto m = kept<shared_mutex>();
       m->lock();
       s.go([m] { std::shared_lock hold(*m); });
       return [m] { m->unlock(); };
     }},
    {"a semaphore", "which has permits",
     [](scope& s) -> std::function<void()> {
       auto permits = kept<counting_semaphore<>>(0);
       s.go([permits] { permits->acquire(); });
       return [permits] { permits->release(2); };
     }},
    {"a semaphore", "which has permits",  // Who is not first in a rate_limiter's queue.
     [](scope& s) -> std::function<void()> {
       auto limit = kept<rate_limiter>(rate_limiter_options{.per_second = 0.01});
       limit->acquire();
       for (int i = 0; i < 2; ++i) s.go([limit] { limit->acquire(); });
       return [limit] { EXPECT_FALSE(limit->try_acquire()); };  // Time brings it; the last leaves the turn to others.
     }},
    {"an event", "which is set",
     [](scope& s) -> std::function<void()> {
       auto e = kept<event>();
       s.go([e] { e->wait(); });
       return [e] { e->set(); };
     }},
    {"a wait group", "which is at zero",
     [](scope& s) -> std::function<void()> {
       auto l = kept<latch>(1);
       s.go([l] { l->wait(); });
       return [l] { l->count_down(); };
     }},
    {"call_once", "whose function nobody calls",
     [](scope& s) -> std::function<void()> {
       auto once = kept<once_flag>();
       auto e = kept<event>();
       for (int i = 0; i < 2; ++i) s.go([once, e] { call_once(*once, [&] { e->wait(); }); });
       return [once, e] { e->set(); };
     }},
    {"a future", "which is ready",
     [](scope& s) -> std::function<void()> {
       auto p = kept<promise<int>>();
       auto f = kept<future<int>>(p->get_future());
       s.go([f] { f->wait(); });
       return [p, f] { p->set_value(1); };
     }},
    {"receiving from a channel", "which has an element",
     [](scope& s) -> std::function<void()> {
       channel<int> ch(2);
       s.go([ch]() mutable { (void)ch.receive(); });
       return [ch]() mutable {
         ch.send(1);
         ch.send(2);
       };
     }},
    {"receiving from a channel", "which is closed",
     [](scope& s) -> std::function<void()> {
       channel<int> ch(0);
       s.go([ch]() mutable { (void)ch.receive(); });
       return [ch]() mutable { ch.close(); };
     }},
    {"receiving from a channel", "on which somebody sends",
     [](scope& s) -> std::function<void()> {
       channel<int> ch(0);
       s.go([ch]() mutable { (void)ch.receive(); });
       return [ch, &s]() mutable {
         for (int i = 0; i < 2; ++i) s.go([ch]() mutable { ch.send(1); });
       };
     }},
    {"sending on a channel", "which has room",
     [](scope& s) -> std::function<void()> {
       channel<int> ch(1);
       ch.send(0);
       s.go([ch]() mutable { ch.send(1); });
       return [ch]() mutable {
         (void)ch.receive();
         (void)ch.receive();
       };
     }},
    {"sending on a channel", "from which somebody receives",
     [](scope& s) -> std::function<void()> {
       channel<int> ch(0);
       s.go([ch]() mutable { ch.send(1); });
       return [ch, &s]() mutable {
         for (int i = 0; i < 2; ++i) s.go([ch]() mutable { (void)ch.receive(); });
       };
     }},
    {"the children of a scope", "all of whom have ended",
     [](scope& s) -> std::function<void()> {
       auto e = kept<event>(), never = kept<event>();
       s.go([e, never] {
         scope inner;
         inner.go([&] { e->wait(); });
         inner.join();
         never->wait();  // It is looked at by who is not told.
       });
       return [e] { e->set(); };
     }},
};

TEST(lost_wake_ups, of_thrum_would_be_found_for_every_kind_of_wait) {
  for (const auto& one : all_waits) {
    const auto program = [&] {
      scope s;
      const auto bring = one.arrange(s);
      this_fiber::sleep_for(1s);
      s.go([reason = reason_of_who_waits_for(one.what)] { wait_unheard(reason); });
      this_fiber::sleep_for(1s);
      bring();
      s.join();
    };
    const auto v = sim::check(program, {.schedules = 5});
    EXPECT_FALSE(v.passed) << one.what;
    EXPECT_TRUE(says(v, sentence));
    EXPECT_TRUE(says(v, std::string(" waits for ") + one.what));
    EXPECT_TRUE(says(v, std::string(", ") + one.how));
  }
}

TEST(lost_wake_ups, of_who_joins) {
  expect_lost(
      [] {
        fiber f = spawn({.name = "joined"}, [] { this_fiber::sleep_for(1s); });
        const sched::activity* joined = nullptr;
        sched::this_worker()->home.for_each_alive([&](const sched::activity& a) {
          if (a.id.load() == f.get_id()) joined = &a;
        });
        wait_unheard(sched::join_reason(*joined));
      },
      " waits for the end of a fiber");
}

}  // namespace
}  // namespace thrum
