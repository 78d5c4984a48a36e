// Misuse from which nobody could recover sanely: one clear sentence, the fiber, its stack, and the end.
#include <atomic>
#include <csignal>
#include <memory>
#include <mutex>
#include <thread>

#include <pthread.h>
#include <unistd.h>

#include "crash_support.hpp"

namespace thrum {
namespace {

using namespace test;

// The sentence, then the fiber in which it happened, then its stack.
std::string sentence(const std::string& text) {
  return "^thrum: fatal: " + text + "\nin " + fiber_pattern("culprit") + "\n" + stack_pattern;
}

// Until somebody else holds it.
template <class Mutex>
void await_owner(Mutex& m) {
  while (m.try_lock()) {
    m.unlock();
    this_fiber::sleep_for(1ms);
  }
}

// Runs the body in a fiber named "culprit" beside two innocent ones.
template <class F>
void commit(F body) {
  run({.workers = 2}, [&] {
    go([] { this_fiber::sleep_for(24h); });
    fiber f = spawn({.name = "culprit"}, body);
    f.join();
  });
}

const scenario unlock_unlocked("unlock_unlocked", [] {
  commit([] {
    mutex m;
    m.unlock();
  });
});
TEST(misuse, unlocking_a_mutex_that_is_not_locked) {
  EXPECT_ABORTS(unlock_unlocked, sentence("unlock of a mutex that is not locked"));
}

const scenario unlock_by_another("unlock_by_another", [] {
  static mutex m;
  commit([] {
    fiber owner = spawn([] {
      m.lock();
      this_fiber::sleep_for(24h);
    });
    await_owner(m);
    m.unlock();
  });
});
TEST(misuse, unlocking_a_mutex_that_another_fiber_holds) {
  EXPECT_ABORTS(unlock_by_another, sentence("unlock of a mutex that another fiber or thread holds"));
}

const scenario lock_twice("lock_twice", [] {
  commit([] {
    mutex m;
    m.lock();
    m.lock();
  });
});
TEST(misuse, locking_a_mutex_twice) { EXPECT_ABORTS(lock_twice, sentence("a mutex is locked by its owner again")); }

const scenario lock_twice_on_a_thread("lock_twice_on_a_thread", [] {
  mutex m;
  m.lock();
  m.lock();
});
TEST(misuse, locking_a_mutex_twice_on_a_plain_thread) {
  EXPECT_ABORTS(lock_twice_on_a_thread, "^thrum: fatal: a mutex is locked by its owner again\n");
}

const scenario destroy_locked("destroy_locked", [] {
  commit([] {
    auto m = std::make_unique<mutex>();
    m->lock();
    m.reset();
  });
});
TEST(misuse, destroying_a_locked_mutex) {
  EXPECT_ABORTS(destroy_locked, sentence("a mutex is destroyed while it is locked"));
}

// This program does not: its workers would run the tests.
TEST(misuse, a_process_pool_in_a_program_that_does_not_serve_its_workers) {
  EXPECT_THROW(process_pool(), std::logic_error);
}

const scenario wait_without_mutex("wait_without_mutex", [] {
  commit([] {
    mutex m;
    condition_variable changed;
    std::unique_lock hold(m);
    hold.unlock();
    changed.wait(hold);
  });
});
TEST(misuse, waiting_for_a_condition_without_the_mutex) {
  EXPECT_ABORTS(wait_without_mutex, sentence("condition_variable: wait without holding the mutex"));
}

// One fiber waits for it while another destroys it.
template <class T, auto Wait, auto... Args>
void destroy_under_a_waiter() {
  commit([] {
    auto t = std::make_unique<T>(Args...);
    fiber f = spawn([&object = *t] { Wait(object); });
    until_the_others_wait();
    t.reset();
  });
}

const scenario destroy_condition("destroy_condition", destroy_under_a_waiter<condition_variable, [](auto& changed) {
                                   mutex m;
                                   std::unique_lock hold(m);
                                   changed.wait(hold);
                                 }>);
TEST(misuse, destroying_a_condition_variable_while_somebody_waits) {
  EXPECT_ABORTS(destroy_condition, sentence("a condition_variable is destroyed while somebody waits"));
}

const scenario destroy_wait_group("destroy_wait_group",
                                  destroy_under_a_waiter<wait_group, [](auto& wg) { wg.wait(); }, 1>);
TEST(misuse, destroying_a_wait_group_while_somebody_waits) {
  EXPECT_ABORTS(destroy_wait_group, sentence("a wait_group is destroyed while somebody waits"));
}

const scenario destroy_semaphore("destroy_semaphore",
                                 destroy_under_a_waiter<binary_semaphore, [](auto& s) { s.acquire(); }, 0>);
TEST(misuse, destroying_a_semaphore_while_somebody_waits) {
  EXPECT_ABORTS(destroy_semaphore, sentence("a semaphore is destroyed while somebody waits"));
}

const scenario destroy_event("destroy_event", destroy_under_a_waiter<event, [](auto& e) { e.wait(); }>);
TEST(misuse, destroying_an_event_while_somebody_waits) {
  EXPECT_ABORTS(destroy_event, sentence("an event is destroyed while somebody waits"));
}

const scenario destroy_barrier("destroy_barrier",
                               destroy_under_a_waiter<barrier<>, [](auto& b) { b.arrive_and_wait(); }, 2>);
TEST(misuse, destroying_a_barrier_while_somebody_waits) {
  EXPECT_ABORTS(destroy_barrier, sentence("a barrier is destroyed while somebody waits"));
}

const scenario once_in_itself("once_in_itself", [] {
  commit([] {
    once_flag flag;
    call_once(flag, [&] { call_once(flag, [] {}); });
  });
});
TEST(misuse, call_once_within_its_own_function) {
  EXPECT_ABORTS(once_in_itself, sentence("call_once is called by its own function"));
}

const scenario write_unlock_unlocked("write_unlock_unlocked", [] {
  commit([] {
    shared_mutex m;
    m.lock_shared();
    m.unlock();
  });
});
TEST(misuse, unlocking_a_shared_mutex_that_is_not_locked_for_writing) {
  EXPECT_ABORTS(write_unlock_unlocked, sentence("unlock of a shared_mutex that is not locked for writing"));
}

const scenario read_unlock_unlocked("read_unlock_unlocked", [] {
  commit([] {
    shared_mutex m;
    m.unlock_shared();
  });
});
TEST(misuse, unlocking_a_shared_mutex_that_is_not_locked_for_reading) {
  EXPECT_ABORTS(read_unlock_unlocked, sentence("unlock of a shared_mutex that is not locked for reading"));
}

const scenario write_unlock_by_another("write_unlock_by_another", [] {
  commit([] {
    shared_mutex m;
    fiber owner = spawn([&] {
      m.lock();
      this_fiber::sleep_for(24h);
    });
    await_owner(m);
    m.unlock();
  });
});
TEST(misuse, unlocking_a_shared_mutex_that_another_fiber_holds) {
  EXPECT_ABORTS(write_unlock_by_another, sentence("unlock of a shared_mutex that another fiber or thread holds"));
}

const scenario write_lock_twice("write_lock_twice", [] {
  commit([] {
    shared_mutex m;
    m.lock();
    m.lock_shared();
  });
});
TEST(misuse, locking_a_shared_mutex_that_one_holds_for_writing) {
  EXPECT_ABORTS(write_lock_twice, sentence("a shared_mutex is locked by its owner again"));
}

const scenario destroy_shared_mutex("destroy_shared_mutex", [] {
  commit([] {
    auto m = std::make_unique<shared_mutex>();
    m->lock_shared();
    m.reset();
  });
});
TEST(misuse, destroying_a_shared_mutex_that_is_locked) {
  EXPECT_ABORTS(destroy_shared_mutex, sentence("a shared_mutex is destroyed while it is locked"));
}

const scenario join_self("join_self", [] {
  static fiber handle;
  run({.workers = 2}, [] {
    wait_group assigned(1);
    handle = spawn({.name = "culprit"}, [&] {
      assigned.wait();
      handle.join();
    });
    assigned.done();
    this_fiber::sleep_for(24h);
  });
});
TEST(misuse, a_fiber_that_joins_itself) { EXPECT_ABORTS(join_self, sentence("a fiber joins itself")); }

const scenario destroy_rate_limiter("destroy_rate_limiter", [] {
  commit([] {
    auto limit = std::make_unique<rate_limiter>(rate_limiter_options{.per_second = 1e-6});
    limit->acquire();
    go([&l = *limit] { l.acquire(); });
    until_the_others_wait();
    limit.reset();
  });
});
TEST(misuse, destroying_a_rate_limiter_that_somebody_waits_for) {
  EXPECT_ABORTS(destroy_rate_limiter, sentence("a rate_limiter is destroyed while somebody waits"));
}

const scenario binding_out_of_order("binding_out_of_order", [] {
  static context_key<int> key;
  commit([] {
    auto first = std::make_unique<context_value<int>>(key, 1);
    context_value second(key, 2);
    first.reset();
  });
});
TEST(misuse, a_context_value_that_ends_out_of_order) {
  EXPECT_ABORTS(binding_out_of_order, sentence("a context_value ends out of order, or not in the fiber that made it"));
}

const scenario binding_elsewhere("binding_elsewhere", [] {
  static context_key<int> key;
  static std::unique_ptr<context_value<int>> binding;
  commit([] {
    event made;
    fiber maker = spawn([&] {
      binding = std::make_unique<context_value<int>>(key, 1);
      made.set();
      this_fiber::sleep_for(24h);
    });
    made.wait();
    binding.reset();
  });
});
TEST(misuse, a_context_value_that_ends_in_another_fiber) {
  EXPECT_ABORTS(binding_elsewhere, sentence("a context_value ends out of order, or not in the fiber that made it"));
}

const scenario exit_thread("exit_thread", [] { commit([] { ::pthread_exit(nullptr); }); });
TEST(misuse, pthread_exit_in_a_fiber) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer itself cannot end a thread on another stack";
  EXPECT_ABORTS(exit_thread,
                sentence("pthread_exit or thread cancellation in a fiber: the thread belongs to all fibers"));
}

const scenario survivors("survivors", [] {
  run({.workers = 2, .grace = 100ms}, [] {
    go({.name = "stubborn"}, [] {
      scope shielded{.shield = true};
      this_fiber::sleep_for(24h);
    });
    until_the_others_wait();
  });
});
TEST(misuse, fibers_that_outlive_the_grace_period_are_named) {
  EXPECT_ABORTS(survivors, "^thrum: fatal: fibers still run after the grace period:\n" + fiber_pattern("stubborn") +
                               " waits for a sleep to end\n" + stack_pattern);
}

const scenario spinning_survivor("spinning_survivor", [] {
  run({.workers = 1, .grace = 50ms}, [] {
    go({.name = "spinner"}, [] {
      for (;;) asm volatile("");
    });
    settle();
  });
});
TEST(misuse, a_spinning_fiber_that_outlives_the_grace_period_is_named) {
  EXPECT_ABORTS(spinning_survivor, fiber_pattern("spinner") + " is running or runnable\n");
}

}  // namespace
}  // namespace thrum
