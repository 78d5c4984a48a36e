// What plain threads share and wait for beyond locks and channels: semaphores, events, wait groups, call_once, shared
// mutexes, condition variables, futures. Those that say so may be destroyed as soon as the waiter has been let through.
#include <memory>
#include <mutex>
#include <shared_mutex>

#include <gtest/gtest.h>
#include <thrum/condition_variable.hpp>
#include <thrum/event.hpp>
#include <thrum/future.hpp>
#include <thrum/once.hpp>
#include <thrum/semaphore.hpp>
#include <thrum/shared_mutex.hpp>
#include <thrum/wait_group.hpp>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"

namespace thrum::memory_model {
namespace {

// The waiter destroys what it has waited for while the other may not have returned yet.
template <class Primitive, class... Arguments>
set_up destroyed_by_its_waiter(void (*let_through)(Primitive&), void (*wait)(Primitive&), Arguments... arguments) {
  return [=](program& p) {
    fresh_waiters();
    auto* one = new Primitive(arguments...);
    p.thread("waker", [=] { let_through(*one); });
    p.thread("waiter", [=] {
      wait(*one);
      delete one;
    });
  };
}

void count_up(plain<int>& counted) { counted.set(counted.get() + 1); }

// ---------------------------------------------------------------------------------------------------------------
// A semaphore with one permit guards what a mutex would.

set_up permitted(int threads) {
  return [=](program& p) {
    struct state {
      counting_semaphore<> permit{1};
      plain<int> counted;
    };
    fresh_waiters();
    auto s = std::make_shared<state>();
    for (int i = 0; i < threads; ++i)
      p.thread("user", [=] {
        s->permit.acquire();
        count_up(s->counted);
        s->permit.release();
      });
    p.finally([=] {
      require(s->counted.get() == threads, "an update is lost");
      require(s->permit.try_acquire() && !s->permit.try_acquire(), "there is not one permit in the end");
    });
  };
}

TEST(memory_semaphore, a_permit_is_for_one_at_a_time_and_nobody_is_forgotten) {
  expect_holds(permitted(2), {.preemptions = 3, .stale_reads = 2});
  expect_holds(permitted(3), {.preemptions = 1, .stale_reads = 2});
}
TEST(memory_semaphore, an_exchange_that_fails_without_a_reason_is_tried_again) {
  expect_holds(permitted(2), {.preemptions = 1, .stale_reads = 1, .spurious_failures = 1});
}
TEST(memory_semaphore, weaker_orders_are_noticed) {
  expect_noticed(permitted(2), weakened("semaphore_core::try_acquire(", operation::modify));
  expect_noticed(permitted(2), weakened("semaphore_core::release(", operation::modify));
}
const auto destroyed_semaphore = destroyed_by_its_waiter<counting_semaphore<>>(
    [](counting_semaphore<>& s) { s.release(); }, [](counting_semaphore<>& s) { s.acquire(); }, 0);
TEST(memory_semaphore, nor_when_loads_are_late) { expect_holds(permitted(2), {.stale_reads = 2, .late_reads = 2}); }
TEST(memory_semaphore, its_waiter_may_destroy_it) {
  expect_holds(destroyed_semaphore, {.preemptions = 3});
  expect_noticed(destroyed_semaphore, weakened("spinlock::unlock(", operation::store));
}
TEST(memory_semaphore, one_who_does_not_say_that_it_waits_is_noticed) {
  expect_noticed(permitted(2), left_out("semaphore_core::announce(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// An event: who has seen it sees what was done before.

struct announced {
  event happened;
  plain<int> data;

  void announce() {
    data.set(1);
    happened.set();
  }
};
void waited_for(program& p) {
  fresh_waiters();
  auto s = std::make_shared<announced>();
  p.thread("announcer", [=] { s->announce(); });
  for (int i = 0; i < 2; ++i)
    p.thread("waiter", [=] {
      s->happened.wait();
      require(s->data.get() == 1, "the event comes too early");
    });
}
void looked_at(program& p) {
  auto s = std::make_shared<announced>();
  p.thread("announcer", [=] { s->announce(); });
  p.thread("looker", [=] {
    if (s->happened.is_set()) require(s->data.get() == 1, "the event comes too early");
  });
}

TEST(memory_event, everybody_is_let_through) { expect_holds(waited_for, {.preemptions = 1, .stale_reads = 2}); }
TEST(memory_event, who_only_looks_sees_what_was_done_before) { expect_holds(looked_at, {.preemptions = 4}); }
TEST(memory_event, weaker_orders_are_noticed) {
  expect_noticed(looked_at, weakened("event::set(", operation::store));
  expect_noticed(looked_at, weakened("event::is_set(", operation::load));
}
const auto destroyed_event = destroyed_by_its_waiter<event>([](event& e) { e.set(); }, [](event& e) { e.wait(); });
TEST(memory_event, its_waiter_may_destroy_it) {
  expect_holds(destroyed_event, {.preemptions = 3});
  expect_noticed(destroyed_event, weakened("spinlock::unlock(", operation::store));
}
TEST(memory_event, also_when_loads_are_late) { expect_holds(destroyed_event, {.stale_reads = 2, .late_reads = 2}); }
TEST(memory_event, one_who_waits_without_looking_is_noticed) {
  expect_lost_wake_up(waited_for, left_out("event::is_set(", operation::load));
}

// ---------------------------------------------------------------------------------------------------------------
// A wait group: who waits sees what all have done.

void done_by_two(program& p) {
  struct state {
    wait_group group{2};
    plain<int> results[2];
  };
  fresh_waiters();
  auto s = std::make_shared<state>();
  for (int i = 0; i < 2; ++i)
    p.thread("worker", [=] {
      s->results[i].set(1);
      s->group.done();
    });
  p.thread("waiter", [=] {
    s->group.wait();
    require(s->results[0].get() + s->results[1].get() == 2, "a result is missing");
  });
}
TEST(memory_wait_group, who_waits_sees_all_that_was_done) { expect_holds(done_by_two, {.stale_reads = 2}); }
TEST(memory_wait_group, weaker_orders_are_noticed) {
  expect_noticed(done_by_two, weakened("wait_group::change(", operation::modify));
}
const auto destroyed_group =
    destroyed_by_its_waiter<wait_group>([](wait_group& g) { g.done(); }, [](wait_group& g) { g.wait(); }, 1);
TEST(memory_wait_group, its_waiter_may_destroy_it) {
  expect_holds(destroyed_group, {.preemptions = 3});
  expect_noticed(destroyed_group, weakened("spinlock::unlock(", operation::store));
}
TEST(memory_wait_group, one_who_is_not_counted_is_noticed) {
  expect_lost_wake_up(done_by_two, left_out("wait_group::change(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// call_once: one does it, all see it.

void called_by_two(program& p) {
  struct state {
    once_flag flag;
    plain<int> made;
  };
  fresh_waiters();
  auto s = std::make_shared<state>();
  for (int i = 0; i < 2; ++i)
    p.thread("caller", [=] {
      call_once(s->flag, [&] { count_up(s->made); });
      require(s->made.get() == 1, "it is not done, or twice");
    });
}
TEST(memory_once, it_is_done_once_and_seen_by_all) { expect_holds(called_by_two, {.preemptions = 4}); }
TEST(memory_once, weaker_orders_are_noticed) {
  expect_noticed(called_by_two, weakened("once_flag::end(", operation::store));
  expect_noticed(called_by_two, weakened("thrum::call_once(", operation::load));
}
TEST(memory_once, one_who_does_not_look_is_noticed) {
  expect_noticed(called_by_two, left_out("once_flag::settled(", operation::load));
}

// ---------------------------------------------------------------------------------------------------------------
// A shared mutex.

set_up read_and_written(int writers, int readers) {
  return [=](program& p) {
    struct state {
      shared_mutex lock;
      plain<int> counted;
    };
    fresh_waiters();
    auto s = std::make_shared<state>();
    for (int i = 0; i < writers; ++i)
      p.thread("writer", [=] {
        std::lock_guard held(s->lock);
        count_up(s->counted);
      });
    for (int i = 0; i < readers; ++i)
      p.thread("reader", [=] {
        std::shared_lock held(s->lock);
        s->counted.get();
      });
    p.finally([=] { require(s->counted.get() == writers, "an update is lost"); });
  };
}
TEST(memory_shared_mutex, writers_are_alone_and_nobody_is_forgotten) {
  expect_holds(read_and_written(1, 1), {.stale_reads = 2});
  expect_holds(read_and_written(2, 0), {.stale_reads = 2});
}
TEST(memory_shared_mutex, an_exchange_that_fails_without_a_reason_is_tried_again) {
  expect_holds(read_and_written(1, 1), {.preemptions = 1, .stale_reads = 1, .spurious_failures = 1});
}
TEST(memory_shared_mutex, more_of_them_at_random) {
  expect_holds_at_random(read_and_written(2, 2), 3'000, {.preemptions = 4});
}
TEST(memory_shared_mutex, weaker_orders_are_noticed) {
  expect_noticed(read_and_written(1, 1), weakened("shared_mutex::take(", operation::modify));
  expect_noticed(read_and_written(1, 1), weakened("shared_mutex::join_readers(", operation::modify));
  expect_noticed(read_and_written(1, 1), weakened("shared_mutex::unlock(", operation::modify));
  expect_noticed(read_and_written(1, 1), weakened("shared_mutex::unlock_shared(", operation::modify));
  expect_noticed(read_and_written(2, 0), weakened("shared_mutex::take_or_announce(", operation::modify));
}
TEST(memory_shared_mutex, an_unlock_that_is_not_said_is_noticed) {
  expect_noticed(read_and_written(2, 0), left_out("shared_mutex::unlock_slow(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// A condition variable.

void notified(program& p) {
  struct state {
    mutex lock;
    condition_variable changed;
    plain<bool> ready;
  };
  fresh_waiters();
  auto s = std::make_shared<state>();
  p.thread("waiter", [=] {
    std::unique_lock held(s->lock);
    while (!s->ready.get()) s->changed.wait(held);
  });
  p.thread("notifier", [=] {
    {
      std::lock_guard held(s->lock);
      s->ready.set(true);
    }
    s->changed.notify_one();
  });
}
TEST(memory_condition_variable, no_notification_is_missed) { expect_holds(notified, {.preemptions = 3}); }
TEST(memory_condition_variable, weaker_orders_are_noticed) {
  expect_noticed(notified, weakened("mutex::unlock(", operation::modify));
  expect_noticed(notified, weakened("mutex::take(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// A future: who waits and what continues see the result; what is withdrawn does not run.

struct result {
  detail::future_core core;
  plain<int> value;

  void produce() {
    value.set(1);
    core.complete(nullptr);
  }
  void wait() {
    core.wait_until_ns(detail::never);
    require(value.get() == 1, "the result is missing");
  }
};
struct continues : detail::continuation {
  explicit continues(result& of) : of(of) {
    run = [](detail::continuation& self) noexcept {
      auto& c = static_cast<continues&>(self);
      require(c.of.value.get() == 1, "it continues without the result");
      count_up(c.runs);
    };
  }
  result& of;
  plain<int> runs;
};
void completed(program& p) {
  fresh_waiters();
  auto r = std::make_shared<result>();
  auto c = std::make_shared<continues>(*r);
  p.thread("producer", [=] { r->produce(); });
  p.thread("waiter", [=] {
    r->core.when_ready(*c);
    r->wait();
  });
  p.finally([=] { require(c->runs.get() == 1, "a continuation does not run, or twice"); });
}
void withdrawn(program& p) {
  auto r = std::make_shared<result>();
  auto c = std::make_shared<continues>(*r);
  auto in_time = std::make_shared<bool>(false);
  p.thread("producer", [=] { r->produce(); });
  p.thread("other", [=] {
    r->core.when_ready(*c);
    *in_time = r->core.withdraw(*c);
  });
  p.finally([=] { require(c->runs.get() == (*in_time ? 0 : 1), "what was withdrawn runs, or what was not does not"); });
}
TEST(memory_future, a_result_is_seen_by_who_waits_and_by_what_continues) {
  expect_holds(completed, {.preemptions = 3});
}
TEST(memory_future, what_is_withdrawn_does_not_run) { expect_holds(withdrawn, {.preemptions = 4}); }
TEST(memory_future, weaker_orders_are_noticed) {
  expect_noticed(completed, weakened("spinlock::unlock(", operation::store));
  expect_noticed(completed, weakened("spinlock::try_lock(", operation::modify));
}
TEST(memory_future, waiters_that_do_not_park_are_noticed) {
  expect_lost_wake_up(completed, left_out("::publish_parked(", operation::modify));
}

}  // namespace
}  // namespace thrum::memory_model
