// For each call that may suspend: cancelled where it waits, cancelled before, and cancelled in a race with its
// completion. It throws `cancelled` and did not happen, or it happened: nothing is lost in between. The calls are in
// semantics_calls.hpp.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "semantics_calls.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

enum class caller { fiber, task };

struct combination {
  unsigned workers;
  kind subject;
  caller by;
};
std::vector<combination> combinations() {
  std::vector<combination> all;
  for (const unsigned workers : {1u, 2u, 4u})
    for (const auto& k : kinds)
      for (const auto by : {caller::fiber, caller::task}) all.push_back({workers, k, by});
  return all;
}

class cancellation : public ::testing::TestWithParam<combination> {
 protected:
  template <class F>
  static void run(F&& f) {
    with_workers(GetParam().workers, std::forward<F>(f));
  }
  static bool completes() { return GetParam().subject.completes; }
  static std::unique_ptr<subject> make_subject() { return GetParam().subject.make(); }
  static bool by_task() { return GetParam().by == caller::task; }
};
INSTANTIATE_TEST_SUITE_P(calls, cancellation, ::testing::ValuesIn(combinations()), [](const auto& instance) {
  const combination& c = instance.param;
  return c.subject.name + std::string(c.by == caller::task ? "_by_task_" : "_") + std::to_string(c.workers);
});

enum class outcome { happened, cancelled };

// Tells how the call ended.
task<> tell(subject& s, std::atomic<outcome>& result) {
  try {
    co_await s.async_call();
    result = outcome::happened;
  } catch (const cancelled&) {
    result = outcome::cancelled;
    throw;
  }
}

// A fiber or a task that makes the call.
struct running_call {
  running_call(subject& s, std::atomic<outcome>& result, bool by_task) {
    if (by_task)
      as_task = spawn(tell(s, result));
    else
      as_fiber = spawn([&] {
        try {
          s.call();
          result = outcome::happened;
        } catch (const cancelled&) {
          result = outcome::cancelled;
          throw;
        }
      });
  }
  void request_stop() {
    as_fiber.request_stop();
    as_task.request_stop();
  }
  void join() { as_fiber.joinable() ? as_fiber.join() : as_task.join(); }

  fiber as_fiber;
  task_handle<void> as_task;
};

TEST_P(cancellation, where_it_waits_it_throws_and_did_not_happen) {
  run([] {
    for (int i = 0; i < 5; ++i) {
      auto s = make_subject();
      std::atomic<outcome> result{outcome::happened};
      running_call c(*s, result, by_task());
      settle();
      c.request_stop();
      c.join();
      EXPECT_EQ(result, outcome::cancelled);
      s->check_untouched();
    }
  });
}

// Makes the call in a scope that is cancelled already or will be.
outcome call_in(subject& s, bool by_task, std::chrono::nanoseconds deadline, bool& expired) {
  std::atomic<outcome> result{outcome::happened};
  const auto in_task = [&]() -> task<> {
    scope limited{.deadline = deadline};
    if (deadline == 24h) limited.cancel();
    try {
      co_await tell(s, result);
    } catch (const cancelled&) {
    }
    try {
      co_await limited.async_join();
    } catch (const timed_out&) {
      expired = true;
    }
  };
  if (by_task) {
    spawn(in_task()).join();
    return result;
  }
  scope limited{.deadline = deadline};
  if (deadline == 24h) limited.cancel();
  try {
    s.call();
  } catch (const cancelled&) {
    result = outcome::cancelled;
  }
  try {
    limited.join();
  } catch (const timed_out&) {
    expired = true;
  }
  return result;
}

TEST_P(cancellation, in_a_cancelled_scope_it_throws_at_once_and_did_not_happen) {
  run([] {
    auto s = make_subject();
    bool expired = false;
    EXPECT_EQ(call_in(*s, by_task(), 24h, expired), outcome::cancelled);
    EXPECT_FALSE(expired);
    s->check_untouched();
  });
}

TEST_P(cancellation, by_a_deadline_it_throws_and_the_scope_reports_timed_out) {
  run([] {
    auto s = make_subject();
    bool expired = false;
    EXPECT_EQ(call_in(*s, by_task(), 2ms, expired), outcome::cancelled);
    EXPECT_TRUE(expired);
    s->check_untouched();
  });
}

TEST_P(cancellation, a_shield_keeps_it_away) {
  if (!completes()) return;
  run([] {
    auto s = make_subject();
    std::atomic<bool> happened{false};
    fiber f;
    task_handle<void> t;
    const auto in_task = [&]() -> task<> {
      scope shielded{.shield = true};
      co_await s->async_call();
      happened = true;
    };
    if (by_task())
      t = spawn(in_task());
    else
      f = spawn([&] {
        scope shielded{.shield = true};
        s->call();
        happened = true;
      });
    settle();
    f.request_stop();
    t.request_stop();
    settle();
    EXPECT_FALSE(happened);
    s->complete(24h);
    by_task() ? t.join() : f.join();
    EXPECT_TRUE(happened);
    s->settle(true);
  });
}

TEST_P(cancellation, in_a_race_with_its_completion_nothing_is_lost) {
  if (!completes()) return;
  run([] {
    for (int i = 0; i < 40; ++i) {
      auto s = make_subject();
      std::atomic<outcome> result{outcome::cancelled};
      running_call c(*s, result, by_task());
      if (i % 3 == 0)
        settle();
      else
        this_fiber::yield();
      fiber stopper = spawn([&] { c.request_stop(); });
      s->complete(1ms);
      stopper.join();
      c.join();
      s->settle(result == outcome::happened);
    }
  });
}

TEST(cancellation_points, locking_and_ending_calls_are_none) {
  with_workers(1, [] {
    mutex m;
    condition_variable changed;
    wait_group wg(2);
    channel<int> ch(1);
    scope s;
    s.cancel();
    m.lock();
    m.unlock();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    changed.notify_all();
    wg.done();
    wg.add(-1);
    ch.close();
    go([] {});
    fiber f = spawn([] {});
    f.detach();
    s.go([] {});
    s.join();
  });
}

// Many in one scope: all end, in whatever they wait.
TEST_P(cancellation, reaches_everybody_in_the_scope) {
  run([] {
    std::vector<std::unique_ptr<subject>> subjects;
    std::vector<std::atomic<outcome>> results(100);
    const std::size_t count = GetParam().subject.name[1] == 'c' ? 8 : 100;  // Sockets are dear.
    for (std::size_t i = 0; i < count; ++i) subjects.push_back(make_subject());
    scope s;
    for (std::size_t i = 0; i < count; ++i) {
      if (by_task())
        go_in(s, tell(*subjects[i], results[i]));
      else
        s.go([&, i] {
          try {
            subjects[i]->call();
          } catch (const cancelled&) {
            results[i] = outcome::cancelled;
          }
        });
    }
    settle();
    s.cancel();
    s.join();
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(results[i], outcome::cancelled);
    for (auto& one : subjects) one->check_untouched();
    while (!subjects.empty()) subjects.pop_back();  // Scopes end in the reverse order of their opening.
  });
}

}  // namespace
}  // namespace thrum
