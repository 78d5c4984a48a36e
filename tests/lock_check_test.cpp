// Fibers that hold locks of threads while they suspend, each in a process that is linked with thrum_lock_check.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#include "crash_support.hpp"

// With external linkage: a function whose name the reports tell.
namespace thrum::lock_check_test {

template <class Lock>
[[gnu::noinline]] void lock_here(Lock& lock) {
  lock.lock();
  asm volatile("" ::: "memory");  // No tail call.
}

using namespace test;

constexpr const char* suspends =
    "thrum: fatal: a fiber or task suspends without a pin while it holds a lock of its thread";

template <class Lock>
void sleep_with(Lock& lock) {
  run({.workers = 2}, [&] {
    spawn({.name = "sleeper"}, [&] {
      lock_here(lock);
      this_fiber::sleep_for(1ms);
      lock.unlock();
    }).join();
  });
}

std::string together(std::string text, const std::string& more) {
  text += more;
  return text;
}

void expect_accused(const scenario& s) {
  const auto d = run_scenario(s);
  const auto sleeper = fiber_pattern("sleeper");
  EXPECT_EQ(how(d), -SIGABRT) << d.errors;
  EXPECT_TRUE(says(d, together("the lock 0x[0-9a-f]+ has been locked in [^\n]*lock_here[^\n]* by ", sleeper)))
      << d.errors;
  EXPECT_TRUE(says(d, together(suspends, " \\(0x[0-9a-f]+, locked in [^\n]*lock_here"))) << d.errors;
  EXPECT_TRUE(says(d, together("\nin ", sleeper))) << d.errors;
}

const scenario with_mutex("lock_mutex", [] {
  std::mutex m;
  sleep_with(m);
});
const scenario with_recursive("lock_recursive", [] {
  std::recursive_mutex m;
  sleep_with(m);
});
const scenario with_timed("lock_timed", [] {
  std::timed_mutex m;
  sleep_with(m);
});
const scenario with_shared("lock_shared", [] {
  std::shared_mutex m;
  sleep_with(m);
});
struct as_reader {
  std::shared_mutex& m;
  void lock() { m.lock_shared(); }
  void unlock() { m.unlock_shared(); }
};
const scenario with_reader("lock_reader", [] {
  std::shared_mutex m;
  as_reader reader{m};
  sleep_with(reader);
});
TEST(lock_check, a_fiber_that_suspends_with_a_lock_of_its_thread_is_stopped_there) {
  for (const auto* s : {&with_mutex, &with_recursive, &with_timed, &with_shared, &with_reader}) expect_accused(*s);
}

const scenario by_task("lock_task", [] {
  run({.workers = 1}, [] {
    static std::mutex m;
    const auto sleep = []() -> task<> {
      lock_here(m);
      co_await async_sleep_for(1ms);
      m.unlock();
    };
    spawn(sleep()).join();
  });
});
TEST(lock_check, so_is_a_task) { EXPECT_ABORTS(by_task, suspends); }

const scenario by_the_dead("lock_left", [] {
  run({.workers = 1}, [] {
    static std::mutex m;
    spawn([] { lock_here(m); }).join();
  });
});
TEST(lock_check, so_is_a_fiber_that_ends_with_it) {
  EXPECT_ABORTS(by_the_dead, "a fiber or task ends and leaves a lock of its thread locked");
}

const scenario by_two("lock_two", [] {
  run({.workers = 1}, [] {
    static std::recursive_mutex m;  // The second would get in.
    fiber first = spawn([] {
      const this_fiber::pin stay;
      lock_here(m);
      this_fiber::sleep_for(1h);
    });
    settle();
    lock_here(m);
  });
});
TEST(lock_check, a_second_fiber_of_the_thread_is_not_let_in) {
  EXPECT_ABORTS(by_two, "a fiber or task wants a lock of this thread that another, suspended here, holds");
}

const scenario as_it_should_be("lock_well", [] {
  run({.workers = 2}, [] {
    std::mutex m, other;
    std::recursive_mutex r;
    std::shared_mutex s;
    std::condition_variable changed;
    int n = 0;
    scope all;
    for (int i = 0; i < 50; ++i)
      all.go([&] {
        for (int k = 0; k < 50; ++k) {
          {
            const std::scoped_lock both(m, other);
            const std::lock_guard once(r);
            const std::lock_guard twice(r);
            const std::shared_lock shared(s);
            ++n;
            changed.notify_all();
          }
          this_fiber::yield();
        }
        const this_fiber::pin stay;
        std::unique_lock held(r);
        held.unlock();
      });
    all.join();
    {
      std::unique_lock held(m);
      changed.wait_for(held, 1ms, [&] { return n < 0; });
    }
    spawn([&] {  // Pinned, it comes back to the lock's thread.
      const this_fiber::pin stay;
      std::lock_guard held(other);
      this_fiber::sleep_for(1ms);
    })
        .join();
    if (n != 2500) std::abort();
  });
});
TEST(lock_check, who_unlocks_before_it_waits_or_is_pinned_is_let_alone) {
  const auto d = run_scenario(as_it_should_be);
  EXPECT_EQ(how(d), 0) << d.errors;
}

}  // namespace thrum::lock_check_test
