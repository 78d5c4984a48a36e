// Parking and being claimed: a waiter is made runnable exactly once, never before its context is saved, and never
// sleeps through its claim, its cancellation or the end that it waits for.
#include "sched/waiter.hpp"

#include <memory>

#include <gtest/gtest.h>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"
#include "os/futex.hpp"
#include "sched/cancel.hpp"
#include "sched/fiber_end.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::memory_model {
namespace {

using sched::claim_code;
using sched::claim_result;
using sched::thread_waiter;
using sched::waiter;

// ---------------------------------------------------------------------------------------------------------------
// A fiber: what its thread saves, whoever resumes it loads.

struct parked {
  waiter who{sched::waiter_kind::fiber};
  plain<int> context;
  plain<int> message;  // From the claimer.
  plain<int> resumed;

  void resume() {
    require(context.get() == 1, "a fiber is resumed before its context is saved");
    require(resumed.get() == 0, "a fiber is resumed twice");
    resumed.set(1);
  }
  void park() {
    context.set(1);
    if (!who.publish_parked()) resume();
  }
  void claim(std::uint64_t episode) {
    if (who.claim_episode(episode, sched::clause_code(0)) == claim_result::resume) resume();
  }
};

void two_claim_a_fiber(program& p) {
  auto f = std::make_shared<parked>();
  const auto episode = f->who.open_episode(true);
  p.thread("fiber", [=] { f->park(); });
  p.thread("waker", [=] { f->claim(episode); });
  p.thread("timer", [=] { f->claim(episode); });
  p.finally([=] { require(f->resumed.get() == 1, "a fiber is not resumed"); });
}
TEST(memory_waiter, a_parked_fiber_is_resumed_once) { expect_holds(two_claim_a_fiber, {.preemptions = 4}); }
TEST(memory_waiter, an_exchange_that_fails_without_a_reason_is_tried_again) {
  expect_holds(two_claim_a_fiber, {.preemptions = 3, .spurious_failures = 2});
}
TEST(memory_waiter, also_when_loads_are_late) {
  expect_holds(two_claim_a_fiber, {.preemptions = 3, .stale_reads = 2, .late_reads = 2});
}
TEST(memory_waiter, unpublished_contexts_are_noticed) {
  expect_noticed(two_claim_a_fiber, weakened("::publish_parked(", operation::modify));
  expect_noticed(two_claim_a_fiber, weakened("::try_claim(", operation::modify));
  expect_noticed(two_claim_a_fiber, left_out("::publish_parked(", operation::modify));
}

// A dump looks at the stack meanwhile.
void a_dump_inspects_a_fiber(program& p) {
  auto f = std::make_shared<parked>();
  const auto episode = f->who.open_episode(true);
  p.thread("fiber", [=] { f->park(); });
  p.thread("waker", [=] { f->claim(episode); });
  p.thread("dump", [=] {
    if (!f->who.begin_inspection()) return;
    require(f->resumed.get() == 0, "a fiber runs while its stack is read");
    f->context.get();
    if (f->who.end_inspection() == claim_result::resume) f->resume();
  });
  p.finally([=] { require(f->resumed.get() == 1, "a fiber is not resumed"); });
}
TEST(memory_waiter, a_dump_reads_no_running_stack) { expect_holds(a_dump_inspects_a_fiber, {.preemptions = 3}); }
TEST(memory_waiter, a_dump_that_does_not_say_so_is_noticed) {
  expect_noticed(a_dump_inspects_a_fiber, left_out("::begin_inspection(", operation::modify));
  expect_noticed(a_dump_inspects_a_fiber, weakened("::end_inspection(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// Parking and being cancelled.

void a_fiber_is_cancelled(program& p) {
  struct state {
    sched::fiber_control fiber;
    plain<int> resumed;
    void resume() { resumed.set(resumed.get() + 1); }
  };
  auto s = std::make_shared<state>();
  p.thread("fiber", [=] {
    s->fiber.open_episode(true);
    if (!s->fiber.stays_parked(false)) s->resume();
  });
  p.thread("canceller", [=] {
    sched::runnable_batch batch;
    sched::cancel(s->fiber.own_scope, detail::cancel_node::cancelled, batch);
    if (!batch.empty()) s->resume();
  });
  p.finally([=] { require(s->resumed.get() == 1, "a fiber sleeps through its cancellation, or is resumed twice"); });
}
TEST(memory_waiter, no_fiber_sleeps_through_its_cancellation) {
  expect_holds(a_fiber_is_cancelled, {.preemptions = 5});
}
TEST(memory_waiter, a_cancellation_without_full_order_is_noticed) {
  expect_noticed(a_fiber_is_cancelled, weakened("::publish_parked(", operation::modify));
  expect_noticed(a_fiber_is_cancelled, weakened("::stays_parked(", operation::load));
  expect_noticed(a_fiber_is_cancelled, weakened("poke(", operation::store));
  expect_noticed(a_fiber_is_cancelled, weakened("::word(", operation::load));
}
TEST(memory_waiter, a_missing_look_at_the_flag_is_noticed) {
  expect_noticed(a_fiber_is_cancelled, left_out("::stays_parked(", operation::load));
}

// ---------------------------------------------------------------------------------------------------------------
// A thread sleeps on its word.

// Whoever claims it passes a message on.
set_up woken_thread(std::int64_t deadline_ns) {
  return [=](program& p) {
    fresh_waiters();
    auto message = std::make_shared<plain<int>>();
    const auto episode = waiter_of(1).open_episode(true);
    p.thread("sleeper", [=] {
      auto& self = thread_waiter::mine();
      self.park(deadline_ns, {&sched::waits_for_nothing});
      if (self.code() == sched::clause_code(0)) require(message->get() == 1, "the message is missing");
      require(self.code() != claim_code::open, "a thread goes on unclaimed");
    });
    p.thread("waker", [=] {
      message->set(1);
      if (waiter_of(1).claim_episode(episode, sched::clause_code(0)) == claim_result::resume) waiter_of(1).resume();
    });
  };
}
TEST(memory_waiter, a_thread_is_woken) { expect_holds(woken_thread(os::no_deadline), {.preemptions = 6}); }
TEST(memory_waiter, a_thread_is_woken_or_times_out) { expect_holds(woken_thread(1), {.preemptions = 6}); }
TEST(memory_waiter, lost_wake_ups_of_threads_are_noticed) {
  expect_lost_wake_up(woken_thread(os::no_deadline), left_out("::publish_parked(", operation::modify));
  expect_noticed(woken_thread(os::no_deadline), weakened("::try_claim(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// The end of a fiber, and who joins it.

void joined(program& p) {
  struct state {
    sched::fiber_control fiber;
    plain<int> result;
    plain<int> block;  // The rest of it, which is stripped when the fiber has left its stack.
  };
  fresh_waiters();
  auto s = std::make_shared<state>();
  p.thread("joiner", [=] {
    sched::join(s->fiber, sched::never, true);
    require(s->result.get() == 1, "a join returns before the end");
    require(s->block.get() == 1, "a join returns before the block is the joiner's");
  });
  p.thread("fiber", [=] {
    s->result.set(1);
    sched::activity& a = s->fiber;
    auto* joiner = sched::announce_end(a);
    s->block.set(1);
    sched::publish_end(a, joiner);
  });
}
TEST(memory_waiter, a_join_sees_all_of_the_end) { expect_holds(joined, {.preemptions = 4}); }
TEST(memory_waiter, an_end_that_is_not_published_is_noticed) {
  expect_noticed(joined, weakened("publish_end(", operation::store));
  expect_noticed(joined, weakened("begin_join(", operation::modify));
  expect_noticed(joined, weakened("announce_end(", operation::modify));
  expect_noticed(joined, weakened("await_end(", operation::load));
  expect_noticed(joined, weakened("has_ended(", operation::load));
}

}  // namespace
}  // namespace thrum::memory_model
