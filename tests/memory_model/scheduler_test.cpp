// The scheduler as it is, on modelled threads: workers that find work, sleep, lose their processor and end; its counts,
// its LIFO slot, and the cancellation of all that lives.
#include "sched/scheduler.hpp"

#include <exception>
#include <memory>

#include <gtest/gtest.h>

#include "memory_model/machine.hpp"

namespace thrum::memory_model {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// Finding work, sleeping, being woken.

// A plain thread starts tasks, waits for each, and ends the runtime.
set_up started_and_joined(unsigned processors, int tasks) {
  return [=](program& p) {
    new_machines();
    struct state {
      explicit state(unsigned processors) : m(processors) {}
      machine m;
      plain<int> input, results[3];
    };
    auto s = std::make_shared<state>(processors);
    p.thread("main", [=] {
      s->input.set(1);
      sched::task_control* started[3];
      for (int i = 0; i < tasks; ++i)
        started[i] = &s->m.start([s = s.get(), i] { s->results[i].set(s->results[i].get() + s->input.get()); });
      for (int i = 0; i < tasks; ++i) {
        s->m.join(*started[i]);
        require(s->results[i].get() == 1, "a task has not run, or twice");
      }
      s->m.shut_down();
    });
  };
}

TEST(memory_scheduler, a_task_from_outside_is_run_and_joined) {
  expect_holds(started_and_joined(1, 1), {.preemptions = 1, .stale_reads = 1});
}
TEST(memory_scheduler, so_are_more_on_two_workers) {
  expect_holds(started_and_joined(2, 1), {.preemptions = 1, .stale_reads = 0});
  expect_holds_at_random(started_and_joined(2, 2), 2'000);
  expect_holds_at_random(started_and_joined(2, 3), 2'000);
}
TEST(memory_scheduler, a_sleeper_who_is_forgotten_is_noticed) {
  const auto one = started_and_joined(1, 1);
  const limits few{.preemptions = 1, .stale_reads = 1};
  expect_lost_wake_up(one, left_out("idle_set::wake_one(", operation::fence), few);
  expect_lost_wake_up(one, left_out("idle_set::sleep(", operation::fence), few);
  expect_lost_wake_up(one, left_out("::global_size(", operation::load), few);
  expect_lost_wake_up(one, left_out("scheduler::inject(", operation::store), few);
}

// ---------------------------------------------------------------------------------------------------------------
// A plain thread arms a timer that is earlier than what the worker sleeps for.

void armed_from_outside(program& p) {
  new_machines();
  struct state {
    machine m{1};
    sched::timer timer;
    detail::atomic<std::uint32_t> fired{0};
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    s->timer.when = 1'000'000;
    s->timer.episode = reinterpret_cast<std::uintptr_t>(&s->fired);
    s->timer.callback = [](sched::timer& t, sched::runnable_batch&) noexcept {
      auto& fired = *reinterpret_cast<detail::atomic<std::uint32_t>*>(t.episode);
      fired.store(1, std::memory_order_relaxed);
      wake(&fired, 1);
    };
    s->m.home->arm(s->timer);
    while (s->fired.load(std::memory_order_relaxed) == 0) wait(&s->fired, 0, false);
    sched::timer_set::cancel(s->timer);
    s->m.shut_down();
  });
}
TEST(memory_scheduler, a_timer_from_outside_is_served) {
  expect_holds(armed_from_outside, {.preemptions = 1, .stale_reads = 1});
}
TEST(memory_scheduler, a_timer_of_which_nobody_is_told_is_noticed) {
  expect_lost_wake_up(armed_from_outside, left_out("timer_set::advance_next(", operation::store),
                      {.preemptions = 1, .stale_reads = 1});
}

// ---------------------------------------------------------------------------------------------------------------
// A task starts others, more than its processor's queue holds: the rest overflows, and is stolen meanwhile.

int taken_by_others = 0;  // Of all executions.

void a_tree_of_tasks(program& p) {
  new_machines();
  struct state {
    machine m{2};
    sched::task_control* children[3];
    plain<int> results[3];
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    auto& root = s->m.start([s = s.get()] {
      auto* w = sched::this_worker();
      for (int i = 0; i < 3; ++i)
        s->children[i] = &s->m.start([=] {
          s->results[i].set(s->results[i].get() + 1);
          if (sched::this_worker() != w) ++taken_by_others;
        });
    });
    s->m.join(root);
    for (int i = 0; i < 3; ++i) {
      s->m.join(*s->children[i]);
      require(s->results[i].get() == 1, "a task has not run, or twice");
    }
    s->m.shut_down();
  });
}
TEST(memory_scheduler, a_tree_of_tasks_is_run_by_two_workers) {
  taken_by_others = 0;
  expect_holds_at_random(a_tree_of_tasks, 3'000);
  EXPECT_GT(taken_by_others, 1'000);
}
TEST(memory_scheduler, searchers_that_stay_counted_are_noticed) {
  const limits l{.executions = 20'000, .seed = 1};
  expect_noticed(a_tree_of_tasks, left_out("idle_set::end_search(", operation::modify), l);
}

// ---------------------------------------------------------------------------------------------------------------
// A stranger is still in inject() when the task has run and the runtime ends.

void ended_beside_a_stranger(program& p) {
  new_machines();
  struct state {
    machine m{1};
    sched::task_control* task = nullptr;
  };
  auto s = std::make_shared<state>();
  s->task = &s->m.create();
  p.thread("stranger", [home = s->m.home.get(), t = s->task] { home->start(*t); });
  p.thread("main", [=] {
    s->m.join(*s->task);
    s->m.shut_down();
  });
}
TEST(memory_scheduler, the_runtime_waits_for_strangers) {
  expect_holds(ended_beside_a_stranger, {.preemptions = 1, .stale_reads = 1});
}
TEST(memory_scheduler, one_that_does_not_wait_is_noticed) {
  const limits few{.preemptions = 1, .stale_reads = 1};
  expect_noticed(ended_beside_a_stranger, left_out("scheduler::shut_down(", operation::load), few);
  expect_noticed(ended_beside_a_stranger, weakened("scheduler::shut_down(", operation::load), few);
}

// ---------------------------------------------------------------------------------------------------------------
// A processor is handed over while its worker's task calls the runtime, which writes what belongs to the processor.

std::uint64_t handoffs = 0;  // Of all executions.

set_up handed_over(bool membarrier) {
  return [=](program& p) {
    new_machines();
    struct state {
      explicit state(bool membarrier) : m(1, membarrier) {}
      machine m;
      plain<int> of_processor;

      void call_runtime() {
        sched::runtime_section inside;
        if (inside.w->p) of_processor.set(of_processor.get() + 1);
      }
    };
    auto s = std::make_shared<state>(membarrier);
    s->m.home->ensure_spare();
    auto& task = s->m.start([s = s.get()] {
      s->call_runtime();
      yield();  // It computes.
      s->call_runtime();
    });
    auto& next = s->m.start([s = s.get()] { s->call_runtime(); });
    const auto monitor = start_thread("monitor", [home = s->m.home.get()] {
      sched::worker* spare;
      while (!(spare = home->take_spare())) yield();
      auto& stuck = home->processor_at(0);
      auto& w = *stuck.owner.load(std::memory_order_acquire);
      if (w.try_retake(stuck))
        home->hand_over(stuck, *spare);
      else
        home->add_spare(*spare);
    });
    p.thread("main", [=, &task, &next] {
      s->m.join(task);
      s->m.join(next);
      join_thread(monitor);
      handoffs += s->m.home->the_monitor().handoffs();
      s->m.shut_down();
    });
  };
}
TEST(memory_scheduler, a_processor_is_handed_over) {
  for (const bool membarrier : {true, false}) {
    handoffs = 0;
    expect_holds_at_random(handed_over(membarrier), 4'000);
    EXPECT_GT(handoffs, 400u);
  }
}
TEST(memory_scheduler, what_is_missing_in_the_hand_over_is_noticed) {
  const limits l{.executions = 50'000, .seed = 1};
  expect_noticed(handed_over(true), left_out("hand_off::enter(", operation::store), l);
  expect_noticed(handed_over(true), left_out("hand_off::requested(", operation::load), l);
  expect_noticed(handed_over(false), left_out("worker::enter_slow(", operation::fence), l);
}

// ---------------------------------------------------------------------------------------------------------------
// The LIFO slot, which is the worker's inside the runtime: the monitor takes who is stuck there.

std::uint64_t exposed = 0;  // Of all executions.

set_up woken_and_exposed(bool membarrier) {
  return [=](program& p) {
    new_machines();
    struct state {
      explicit state(bool membarrier) : m(2, membarrier) {}
      machine m;
      plain<int> runs[2];
    };
    auto s = std::make_shared<state>(membarrier);
    sched::task_control* woken[2];
    for (int i = 0; i < 2; ++i) woken[i] = &s->m.create([s = s.get(), i] { s->runs[i].set(s->runs[i].get() + 1); });
    const auto wake = [home = s->m.home.get()](sched::task_control& t) {
      sched::runtime_section inside;
      home->ready(t, inside.w);
    };
    auto& waker = s->m.start([=, first = woken[0], second = woken[1]] {
      wake(*first);
      yield();  // It computes.
      wake(*second);
    });
    const auto monitor = start_thread("monitor", [home = s->m.home.get()] {
      for (int look = 0; look < 2; ++look)
        for (unsigned i = 0; i < 2; ++i) {
          auto& stuck = home->processor_at(i);
          auto* before = stuck.lifo.load(std::memory_order_relaxed);
          if (!before) continue;
          stuck.owner.load(std::memory_order_acquire)->expose_lifo(stuck);
          exposed += stuck.lifo.load(std::memory_order_relaxed) != before;
        }
    });
    p.thread("main", [=, &waker] {
      s->m.join(waker);
      for (auto* t : woken) s->m.join(*t);
      join_thread(monitor);
      for (auto& r : s->runs) require(r.get() == 1, "a task that was woken once has run twice, or never");
      s->m.shut_down();
    });
  };
}
TEST(memory_scheduler, who_is_in_the_lifo_slot_is_taken_once) {
  for (const bool membarrier : {true, false}) {
    exposed = 0;
    expect_holds_at_random(woken_and_exposed(membarrier), 4'000);
    EXPECT_GT(exposed, 100u);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Nobody escapes from the cancellation of all, and nobody is overlooked by the count of who lives. The workers do not
// run: what they would do is not part of it.

machine idle_machine(bool membarrier = true) {
  new_machines();
  threads_run = false;
  machine m(1, membarrier);
  m.abandon(m.create());  // So that there are blocks.
  return m;
}

set_up created_while_all_are_cancelled(bool membarrier) {
  return [=](program& p) {
    struct state {
      machine m;
      sched::task_control* created = nullptr;
    };
    auto s = std::make_shared<state>(state{idle_machine(membarrier)});
    p.thread("creator", [=] { s->created = &s->m.create(); });
    p.thread("canceller", [=] { s->m.home->cancel_all(); });
    p.finally([=] {
      require(s->created->cancel_pending.load(), "a task escapes");
      s->m.abandon(*s->created);
      s->m.shut_down();
    });
  };
}
TEST(memory_scheduler, nobody_escapes_from_the_cancellation_of_all) {
  expect_holds(created_while_all_are_cancelled(true), {.preemptions = 3});
  expect_holds(created_while_all_are_cancelled(false), {.preemptions = 3});
}
TEST(memory_scheduler, one_who_escapes_is_noticed) {
  expect_noticed(created_while_all_are_cancelled(true), left_out("membarrier_private(", operation::membarrier));
  expect_noticed(created_while_all_are_cancelled(false), left_out("fence_of_few(", operation::fence));
  expect_noticed(created_while_all_are_cancelled(false), left_out("fence_of_many(", operation::fence));
  expect_noticed(created_while_all_are_cancelled(true), left_out("::cancelling(", operation::load));
}

// A task creates another and ends, and so does that one: until then somebody lives.
void counted_while_they_live(program& p) {
  struct state {
    machine m;
    sched::task_control *parent = nullptr, *child = nullptr;
  };
  auto s = std::make_shared<state>(state{idle_machine()});
  s->parent = &s->m.create();
  p.thread("parent", [=] {
    s->child = &s->m.create();
    s->m.abandon(*s->parent);
  });
  p.thread("observer", [=] { require(!s->m.home->quiescent(), "somebody who lives is overlooked"); });
  p.finally([=] {
    s->m.abandon(*s->child);
    require(s->m.home->quiescent(), "somebody is left");
    s->m.shut_down();
  });
}
TEST(memory_scheduler, the_count_overlooks_nobody) { expect_holds(counted_while_they_live, {.preemptions = 4}); }
TEST(memory_scheduler, a_weaker_count_is_noticed) {
  expect_noticed(counted_while_they_live, weakened("::count_ended(", operation::modify));
  expect_noticed(counted_while_they_live, weakened("::live_count(", operation::load));
}

}  // namespace
}  // namespace thrum::memory_model
