// What tasks must not do, how their failures are reported, and how they appear in reports of others.
#include <coroutine>
#include <stdexcept>

#include "crash_support.hpp"

namespace thrum {
namespace {

using namespace test;

const std::string task_pattern = "task \\d+ \\(spawned at [^\n]*crash_task_test.cpp:\\d+ in [^\n]*\\)";

std::string sentence(const std::string& text) { return "^thrum: fatal: " + text + "\nin " + task_pattern + "\n"; }

const std::string blocks = sentence("a task called a function that blocks: it must co_await the async_ twin");

void commit(task<> t) {
  run({.workers = 2}, [&] { spawn(std::move(t)).join(); });
}

task<> lock_it(mutex& m) {
  m.lock();
  co_return;
}
const scenario blocking_lock("blocking_lock", [] {
  mutex m;
  commit(lock_it(m));
});
TEST(task_misuse, locking_a_mutex_without_co_await) { EXPECT_ABORTS(blocking_lock, blocks); }

task<> sleep_it() {
  this_fiber::sleep_for(1ms);
  co_return;
}
const scenario blocking_sleep("blocking_sleep", [] { commit(sleep_it()); });
TEST(task_misuse, sleeping_as_a_fiber) { EXPECT_ABORTS(blocking_sleep, blocks); }

task<> yield_it() {
  this_fiber::yield();
  co_return;
}
const scenario blocking_yield("blocking_yield", [] { commit(yield_it()); });
TEST(task_misuse, yielding_as_a_fiber) { EXPECT_ABORTS(blocking_yield, blocks); }

task<> receive_it(channel<int> ch) {
  (void)ch.receive();
  co_return;
}
const scenario blocking_receive("blocking_receive", [] { commit(receive_it(channel<int>(0))); });
TEST(task_misuse, receiving_without_co_await) { EXPECT_ABORTS(blocking_receive, blocks); }

task<> lock_twice_in_a_task(mutex& m) {
  co_await m.async_lock();
  co_await m.async_lock();
}
const scenario second_lock("second_lock", [] {
  mutex m;
  commit(lock_twice_in_a_task(m));
});
TEST(task_misuse, locking_a_mutex_twice) {
  EXPECT_ABORTS(second_lock, sentence("a mutex is locked by its owner again"));
}

task<> leave_a_scope() {
  scope s;
  go_in(s, []() -> task<> { co_await async_sleep_for(24h); }());
  co_await async_yield();
}
const scenario scope_with_children("scope_with_children", [] { commit(leave_a_scope()); });
TEST(task_misuse, leaving_a_scope_that_has_children) {
  EXPECT_ABORTS(scope_with_children,
                sentence("a scope ends in a task while it has children: co_await its async_join\\(\\) "
                         "before, or use async_with_scope"));
}

task<> wait_for_something_else() { co_await std::suspend_always{}; }
const scenario foreign_awaitable("foreign_awaitable", [] { commit(wait_for_something_else()); });
TEST(task_misuse, waiting_for_what_is_not_thrums) {
  EXPECT_ABORTS(foreign_awaitable,
                "^thrum: fatal: a task waits for something that is not thrum's, which cannot resume it\n");
}

// A coroutine of somebody else's, which runs on a plain thread.
struct stranger {
  struct promise_type {
    stranger get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};
stranger sleep_outside() { co_await async_sleep_for(1ms); }
const scenario outside_of_tasks("outside_of_tasks", [] { sleep_outside(); });
TEST(task_misuse, co_await_outside_of_a_task) {
  EXPECT_ABORTS(outside_of_tasks, "^thrum: fatal: co_await of a thrum call outside of a thrum task\n");
}

task<> throw_it() {
  co_await async_yield();
  throw std::runtime_error("nobody will ask");
}
const scenario uncaught("uncaught_in_task", [] {
  run({.workers = 2}, [] {
    go(throw_it());
    this_fiber::sleep_for(24h);
  });
});
TEST(task_report, an_exception_that_leaves_a_task_ends_the_process) {
  EXPECT_ABORTS(uncaught, "^thrum: fatal: uncaught exception in " + task_pattern + ": nobody will ask\n");
}

const scenario uncaught_detached("uncaught_detached_task", [] {
  run({.workers = 2}, [] {
    auto t = spawn(throw_it());
    t.detach();
    this_fiber::sleep_for(24h);
  });
});
TEST(task_report, the_same_when_its_handle_was_detached) {
  EXPECT_ABORTS(uncaught_detached, "^thrum: fatal: uncaught exception in " + task_pattern + ": nobody will ask\n");
}

task<> hold_and_wait(mutex& m, channel<int> never) {
  auto hold = co_await m.async_scoped_lock();
  (void)co_await never.async_receive();
}
task<> wait_for_lock(mutex& m) {
  co_await async_yield();
  co_await m.async_lock();
}
const scenario tasks_deadlock("tasks_deadlock", [] {
  run({.workers = 2}, [] {
    static mutex m;
    channel<int> never(0);
    auto a = spawn(hold_and_wait(m, never));
    until_the_others_wait();
    auto b = spawn(wait_for_lock(m));
    fiber f = spawn({.name = "locker"}, [&] { m.lock(); });
    b.join();
    a.join();
  });
});
TEST(task_report, a_deadlock_names_the_tasks_and_what_they_wait_for) {
  const auto d = run_scenario(tasks_deadlock);
  EXPECT_EQ(how(d), 2) << d.errors;
  EXPECT_TRUE(says(d, "^thrum: fatal: deadlock")) << d.errors;
  EXPECT_TRUE(says(d, task_pattern + " waits for receiving from a channel 0x")) << d.errors;
  EXPECT_TRUE(says(d, task_pattern + " waits for a mutex 0x[0-9a-f]+, held by task \\d+\n")) << d.errors;
  EXPECT_TRUE(says(d, fiber_pattern("locker") + " waits for a mutex 0x[0-9a-f]+, held by task \\d+\n")) << d.errors;
  EXPECT_TRUE(says(d, " waits for the end of a task 0x[0-9a-f]+, held by task \\d+\n")) << d.errors;
}

const scenario sleeping_tasks("sleeping_tasks", [] {
  run({.workers = 2}, [] {
    auto t = spawn([]() -> task<> { co_await async_sleep_for(600ms); });
    t.join();
    std::_Exit(7);
  });
});
TEST(task_report, a_sleeping_task_is_no_deadlock) {
  const auto d = run_scenario(sleeping_tasks);
  EXPECT_EQ(how(d), 7) << d.errors;
  EXPECT_EQ(d.errors, "");
}

const scenario survivors("task_survivors", [] {
  runtime rt({.workers = 2, .grace = 50ms});
  rt.run([] {
    go([]() -> task<> {
      scope shielded{.shield = true};
      co_await async_sleep_for(24h);
    });
    until_the_others_wait();
  });
});
TEST(task_report, a_task_that_outlives_the_grace_is_named) {
  const auto d = run_scenario(survivors);
  EXPECT_EQ(how(d), -SIGABRT) << d.errors;
  EXPECT_TRUE(says(d, task_pattern + " waits for a sleep to end\n")) << d.errors;
}

}  // namespace
}  // namespace thrum
