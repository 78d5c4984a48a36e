// Cycles that no cancellation ends, told by an inspector beside them; each in a process of its own, which it spoils.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "crash_support.hpp"

namespace thrum {
namespace {

using namespace test;
using verdict = finding::verdict;

constexpr int found_status = 7;
constexpr auto looks_max = 10'000;

// What is expected is found sooner or later, and nothing else is ever proved. Says it, and ends the process.
[[noreturn]] void expect_only(const std::function<bool(const finding&)>& expected) {
  inspector doctor;
  for (int i = 0; i < looks_max; ++i) {
    for (const auto& f : doctor.look()) {
      const bool right = expected(f);
      std::fputs(to_string(f).c_str(), stderr);
      ::_exit(right ? found_status : 1);
    }
    this_fiber::sleep_for(1ms);
  }
  ::_exit(2);
}
// Beside this, so that it is no deadlock of the whole runtime.
void run_beside_a_ticker(unsigned workers, const std::function<void()>& f) {
  run({.workers = workers}, [&] {
    go([] {
      for (;;) this_fiber::sleep_for(1ms);
    });
    f();
  });
}

// Each has one lock and wants its neighbour's.
void ring_of_locks(unsigned workers, std::size_t size) {
  run_beside_a_ticker(workers, [&] {
    static std::array<mutex, 8> locks;
    latch all_have_one(static_cast<std::ptrdiff_t>(size));
    for (std::size_t i = 0; i < size; ++i)
      go({.name = "philosopher"}, [&, i] {
        std::lock_guard left(locks[i]);
        all_have_one.arrive_and_wait();
        std::lock_guard right(locks[(i + 1) % size]);
      });
    expect_only([&](const finding& f) {
      return f.what == verdict::deadlock && f.for_ever() && f.members.size() == size && f.behind.empty();
    });
  });
}
const scenario rings[] = {{"ring_1", [] { ring_of_locks(1, 2); }},
                          {"ring_2", [] { ring_of_locks(2, 3); }},
                          {"ring_4", [] { ring_of_locks(4, 8); }}};
TEST(inspector, finds_a_ring_of_mutexes) {
  for (const auto& ring : rings) {
    const auto d = run_scenario(ring);
    EXPECT_EQ(how(d), found_status) << d.errors;
    EXPECT_TRUE(says(d,
                     "^deadlock: each of them waits for the next, and the last for the first\n"
                     "  fiber [0-9]+ \"philosopher\" \\(spawned at [^\n]*\\) waits for a mutex 0x[0-9a-f]+\n  fiber "))
        << d.errors;
  }
}

void expect_found(const scenario& s, const std::string& pattern) {
  const auto d = run_scenario(s);
  EXPECT_EQ(how(d), found_status) << d.errors;
  EXPECT_TRUE(says(d, pattern)) << d.errors;
}

// ~fiber stops the fiber and waits for its end; but who waits for a mutex is not cancelled.
const scenario joins_with_the_lock_held("joins_with_the_lock_held", [] {
  run_beside_a_ticker(2, [] {
    static mutex m;
    go({.name = "holder"}, [] {
      std::lock_guard hold(m);
      fiber inner = spawn({.name = "inner"}, [] { std::lock_guard own(m); });
    });
    expect_only([](const finding& f) { return f.what == verdict::deadlock && f.for_ever() && f.members.size() == 2; });
  });
});
TEST(inspector, finds_who_waits_for_the_end_of_one_that_wants_its_lock) {
  expect_found(joins_with_the_lock_held, "\"holder\" [^\n]* waits for the end of a fiber");
}

const scenario scope_with_the_lock_held("scope_with_the_lock_held", [] {
  run_beside_a_ticker(2, [] {
    static mutex m;
    go({.name = "parent"}, [] {
      std::lock_guard hold(m);
      scope s;
      for (int i = 0; i < 3; ++i) s.go([] { std::lock_guard own(m); });
      s.go([] { scope own; });  // Ends.
      s.join();
    });
    expect_only([](const finding& f) {
      return f.what == verdict::deadlock && f.for_ever() && f.members.size() == 2 && f.behind.size() <= 2;
    });
  });
});
TEST(inspector, finds_a_scope_whose_children_want_its_openers_lock) {
  expect_found(scope_with_the_lock_held, "\"parent\" [^\n]* waits for the children of a scope");
}

const scenario a_thread_takes_part("a_thread_takes_part", [] {
  static mutex a, b;
  static std::atomic<bool> thread_has_one{false}, fiber_has_one{false};
  std::thread([] {
    std::lock_guard hold(a);
    thread_has_one = true;
    while (!fiber_has_one) std::this_thread::yield();
    std::lock_guard want(b);
  }).detach();
  run_beside_a_ticker(2, [] {
    go([] {
      std::lock_guard hold(b);
      fiber_has_one = true;
      while (!thread_has_one) this_fiber::yield();
      std::lock_guard want(a);
    });
    expect_only([](const finding& f) { return f.what == verdict::deadlock && f.for_ever() && f.members.size() == 2; });
  });
});
TEST(inspector, finds_a_cycle_of_a_thread_and_a_fiber) {
  expect_found(a_thread_takes_part, "  thread [0-9]+ waits for a mutex 0x");
}

const scenario tasks_take_part("tasks_take_part", [] {
  run_beside_a_ticker(2, [] {
    static shared_mutex a;
    static mutex b;
    static latch both(2);
    static constexpr auto one = []() -> task<> {
      co_await a.async_lock();
      co_await both.async_arrive_and_wait();
      co_await b.async_lock();
    };
    static constexpr auto other = []() -> task<> {
      co_await b.async_lock();
      co_await both.async_arrive_and_wait();
      co_await a.async_lock_shared();
    };
    go(one());
    go(other());
    expect_only([](const finding& f) { return f.what == verdict::deadlock && f.for_ever() && f.members.size() == 2; });
  });
});
TEST(inspector, finds_a_cycle_of_tasks_and_a_shared_mutex) {
  expect_found(tasks_take_part, "  task [0-9]+ \\(spawned at [^\n]*\\) waits for a shared mutex 0x");
}

const scenario left_locked("left_locked", [] {
  run_beside_a_ticker(2, [] {
    static mutex m;
    static event locked;
    go({.name = "careless"}, [] {
      m.lock();
      locked.set();
      settle();
    });
    go({.name = "waiting"}, [] {
      locked.wait();
      m.lock();
    });
    expect_only([](const finding& f) { return f.what == verdict::abandoned && f.for_ever() && f.members.size() == 2; });
  });
});
TEST(inspector, finds_a_lock_whose_holder_has_ended) {
  expect_found(left_locked,
               "^abandoned: [^\n]*\n  fiber [0-9]+ \"waiting\" [^\n]* waits for a mutex 0x[0-9a-f]+\n"
               "  fiber [0-9]+ \"careless\" [^\n]* has ended\n");
}
const scenario left_locked_by_a_thread("left_locked_by_a_thread", [] {
  static mutex m;
  { std::lock_guard own(m); }  // This thread is not taken for that one.
  std::thread([] { m.lock(); }).join();
  run_beside_a_ticker(2, [] {
    go([] { m.lock(); });
    expect_only([](const finding& f) { return f.what == verdict::abandoned && f.for_ever(); });
  });
});
TEST(inspector, finds_a_lock_whose_holder_was_a_thread_that_has_ended) {
  expect_found(left_locked_by_a_thread, "\n  a thread has ended\n");
}

const scenario waits_behind("waits_behind", [] {
  run_beside_a_ticker(2, [] {
    static mutex a, b, c;
    static latch all(3);
    go([] {
      std::lock_guard first(a);
      all.arrive_and_wait();
      std::lock_guard second(b);
    });
    go([] {
      std::lock_guard first(b);
      all.arrive_and_wait();
      std::lock_guard second(a);
    });
    go({.name = "later"}, [] {
      std::lock_guard first(c);
      all.arrive_and_wait();
      std::lock_guard second(b);
    });
    go({.name = "last"}, [] {
      all.wait();
      this_fiber::yield();
      std::lock_guard own(c);
    });
    inspector doctor;
    std::vector<finding> found;
    while ((found = doctor.look()).empty() || found[0].behind.size() < 2) this_fiber::sleep_for(1ms);
    std::fputs(to_string(found[0]).c_str(), stderr);
    ::_exit(found.size() == 1 && found[0].members.size() == 2 ? found_status : 1);
  });
});
TEST(inspector, finds_who_waits_behind_a_cycle) {
  expect_found(waits_behind, "\n  and behind them fiber [0-9]+ \"last\" [^\n]* waits for a mutex 0x");
}

}  // namespace
}  // namespace thrum
