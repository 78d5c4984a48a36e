// Workers: sleeping and being woken, and losing a processor.
#include <array>
#include <memory>

#include <gtest/gtest.h>

#include <thrum/detail/spinlock.hpp>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"
#include "sched/hand_off.hpp"
#include "sched/idle_set.hpp"
#include "sched/run_queue.hpp"

namespace thrum::memory_model {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// The race of going to sleep and bringing work. Each taker looks for one fiber as scheduler::find_work() does, and
// leaves with it; each bringer pushes one. So a wake-up that is lost is a deadlock.

using queue = sched::bounded_run_queue<4, 4>;

struct site_of_work {
  sched::idle_set idle;
  queue brought[2]{queue(true), queue(true)};
  queue own[2]{queue(true), queue(true)};
  std::array<detail::atomic<std::uint32_t>, 2> poller{};  // Of the takers: 1 once woken.
  std::array<detail::spinlock, 2> polling{};
  bool locks_late = false;  // A mistake: the poller is locked when its owner has been announced already.

  void bring(unsigned queue_number, std::uintptr_t what) {
    brought[queue_number].push(reinterpret_cast<sched::activity*>(what));
    wake_one();
  }
  void wake_one() {
    idle.wake_one([this](unsigned i) {
      poller[i].store(1, std::memory_order_relaxed);
      wake(&poller[i], 1);
    });
  }
  bool take(unsigned self) { return brought[0].steal_into(own[self]) || brought[1].steal_into(own[self]); }
  bool work_is_visible() const { return !brought[0].empty() || !brought[1].empty(); }
  void sleep_in_poller(unsigned self) {
    while (poller[self].exchange(0, std::memory_order_relaxed) == 0) wait(&poller[self], 0, false);
  }
  // What says that its owner is to wake up is about no descriptor, and dropped.
  void serve_neglected(unsigned other) {
    if (idle.contains(other) || !polling[other].try_lock()) return;
    poller[other].exchange(0, std::memory_order_relaxed);
    polling[other].unlock();
  }
  void look_for_one(unsigned self) {
    bool searching = false;
    for (;;) {
      if (!searching) idle.begin_search();
      if (take(self)) break;
      idle.end_search();
      const auto visible = [this] { return work_is_visible(); };
      detail::spinlock none;
      searching = idle.sleep(self, locks_late ? none : polling[self], visible, [=, this] {
        if (locks_late) polling[self].lock();
        sleep_in_poller(self);
        if (locks_late) polling[self].unlock();
      });
    }
    if (idle.end_search()) wake_one();
  }
};

void one_brings(program& p) {
  auto s = std::make_shared<site_of_work>();
  p.thread("taker", [=] { s->look_for_one(0); });
  p.thread("bringer", [=] { s->bring(0, 8); });
}
void one_brings_for_two(program& p) {
  auto s = std::make_shared<site_of_work>();
  p.thread("taker", [=] { s->look_for_one(0); });
  p.thread("other", [=] { s->look_for_one(1); });
  p.thread("bringer", [=] {
    s->bring(0, 8);
    s->bring(0, 16);
  });
}
void two_bring_for_two(program& p) {
  auto s = std::make_shared<site_of_work>();
  p.thread("taker", [=] { s->look_for_one(0); });
  p.thread("other", [=] { s->look_for_one(1); });
  p.thread("bringer", [=] { s->bring(0, 8); });
  p.thread("friend", [=] { s->bring(1, 16); });
}

set_up one_brings_while_another_serves(bool locks_late) {
  return [=](program& p) {
    auto s = std::make_shared<site_of_work>();
    s->locks_late = locks_late;
    p.thread("taker", [=] { s->look_for_one(0); });
    p.thread("bringer", [=] { s->bring(0, 8); });
    p.thread("server", [=] { s->serve_neglected(0); });
  };
}

TEST(memory_idle_set, nobody_throws_away_what_wakes_another) {
  expect_holds(one_brings_while_another_serves(false), {.preemptions = 2});
  const auto o = explore({.preemptions = 2}, one_brings_while_another_serves(true));
  EXPECT_FALSE(o.passed);
  EXPECT_NE(o.report.find("a wake-up is lost"), std::string::npos) << o.report;
}
TEST(memory_idle_set, no_sleeper_is_forgotten) { expect_holds(one_brings, {.preemptions = 3}); }
TEST(memory_idle_set, a_searcher_wakes_the_next) { expect_holds(one_brings_for_two, {.stale_reads = 2}); }
TEST(memory_idle_set, nor_when_two_bring_work_at_once) {
  expect_holds(two_bring_for_two, {.preemptions = 1, .stale_reads = 2});
}
TEST(memory_idle_set, nor_by_who_is_preempted_more_often) {
  expect_holds_at_random(two_bring_for_two, 10'000, {.preemptions = 5});
}
TEST(memory_idle_set, nor_when_loads_are_late) { expect_holds(one_brings, {.stale_reads = 2, .late_reads = 2}); }
TEST(memory_idle_set, missing_fences_are_noticed) {
  expect_lost_wake_up(one_brings, left_out("::wake_one(", operation::fence), {.preemptions = 3});
  expect_lost_wake_up(one_brings, left_out("::sleep(", operation::fence), {.preemptions = 3});
}
TEST(memory_idle_set, a_missing_last_look_is_noticed) {
  expect_lost_wake_up(one_brings, left_out("::size(", operation::load), {.preemptions = 3});
}
TEST(memory_idle_set, searchers_that_stay_counted_are_noticed) {
  expect_lost_wake_up(one_brings_for_two, left_out("::end_search(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// The hand-off. The processor is plain data: whoever owns it writes it.

struct worker_and_monitor {
  sched::hand_off side{1};
  plain<int> processor;
  bool lost = false;  // The worker's.

  // As worker::enter() and enter_slow(), with the processor in use until leave().
  void call_runtime(bool membarrier_works) {
    if (lost) return;
    side.enter();
    if (!membarrier_works) detail::atomic_thread_fence(std::memory_order_seq_cst);
    if (side.requested()) lost = !side.keep(1);
    if (!lost) processor.set(1);
    side.leave();
  }
};

void fence_of_few(bool membarrier_works) {
  if (membarrier_works)
    membarrier();
  else
    detail::atomic_thread_fence(std::memory_order_seq_cst);
}

set_up hand_off(bool membarrier_works) {
  return [=](program& p) {
    auto w = std::make_shared<worker_and_monitor>();
    p.thread("worker", [=] {
      w->processor.set(1);
      w->side.leave();
      w->call_runtime(membarrier_works);
      w->call_runtime(membarrier_works);
    });
    p.thread("monitor", [=] {
      for (int look = 0; look < 2; ++look) {
        if (!w->side.try_retake(1, [=] { fence_of_few(membarrier_works); })) continue;
        w->processor.set(2);
        return;
      }
    });
  };
}

TEST(memory_hand_off, a_processor_has_one_owner) { expect_holds(hand_off(true), {.preemptions = 4}); }
TEST(memory_hand_off, also_without_membarrier) { expect_holds(hand_off(false), {.preemptions = 4}); }
TEST(memory_hand_off, also_when_loads_are_late) {
  expect_holds(hand_off(true), {.preemptions = 3, .stale_reads = 2, .late_reads = 2});
  expect_holds(hand_off(false), {.preemptions = 3, .stale_reads = 2, .late_reads = 2});
}
TEST(memory_hand_off, what_is_missing_is_noticed) {
  for (const bool membarrier_works : {true, false}) {
    const auto program = hand_off(membarrier_works);
    expect_noticed(program, left_out("hand_off::enter(", operation::store));
    expect_noticed(program, left_out("hand_off::requested(", operation::load));
    expect_noticed(program, left_out("hand_off::in_runtime(", operation::load));
    expect_noticed(program, weakened("hand_off::leave(", operation::store));
    expect_noticed(program, weakened("hand_off::in_runtime(", operation::load));
  }
  expect_noticed(hand_off(true), left_out("fence_of_few(", operation::membarrier));
  expect_noticed(hand_off(false), left_out("fence_of_few(", operation::fence));
  expect_noticed(hand_off(false), left_out("call_runtime(", operation::fence));
}

// The monitor looks after the processor while the worker is outside, again and again.
set_up visited(bool membarrier_works) {
  return [=](program& p) {
    auto w = std::make_shared<worker_and_monitor>();
    p.thread("worker", [=] {
      w->processor.set(1);
      w->side.leave();
      w->call_runtime(membarrier_works);
      w->call_runtime(membarrier_works);
    });
    p.thread("monitor", [=] {
      for (int look = 0; look < 2; ++look)
        w->side.visit(
            1, [=] { fence_of_few(membarrier_works); }, [=] { w->processor.set(2); });
    });
  };
}
TEST(memory_hand_off, a_visited_worker_stays_outside) {
  for (const bool membarrier_works : {true, false}) {
    expect_holds(visited(membarrier_works), {.preemptions = 4});
    expect_holds(visited(membarrier_works), {.preemptions = 3, .stale_reads = 2, .late_reads = 2});
  }
}
TEST(memory_hand_off, what_is_missing_in_a_visit_is_noticed) {
  for (const bool membarrier_works : {true, false}) {
    const auto program = visited(membarrier_works);
    expect_noticed(program, left_out("hand_off::enter(", operation::store));
    expect_noticed(program, left_out("hand_off::requested(", operation::load));
    expect_noticed(program, left_out("hand_off::in_runtime(", operation::load));
    expect_noticed(program, weakened("hand_off::leave(", operation::store));
    expect_noticed(program, left_out("spinlock::lock(", operation::modify));
    expect_noticed(program, weakened("spinlock::unlock(", operation::store));
  }
  expect_noticed(visited(true), left_out("fence_of_few(", operation::membarrier));
  expect_noticed(visited(false), left_out("fence_of_few(", operation::fence));
}

// A worker that has passed its processor on is not visited there.
void visited_too_late(program& p) {
  auto w = std::make_shared<worker_and_monitor>();
  p.thread("worker", [=] {
    w->side.leave();
    w->side.enter();
    if (w->side.requested() && !w->side.keep(1)) return;
    if (!w->side.give_away(1)) return;
    w->side.leave();
    w->processor.set(1);  // The next owner.
  });
  p.thread("monitor", [=] {
    w->side.visit(
        1, [] { membarrier(); }, [=] { w->processor.set(2); });
  });
}
TEST(memory_hand_off, a_processor_that_was_passed_on_is_not_visited) {
  expect_holds(visited_too_late, {.preemptions = 4});
  constexpr std::uint64_t asked = 1 << 2 | 1;
  expect_noticed(visited_too_late, left_out("hand_off::visit(", operation::load, asked));
  expect_noticed(visited_too_late, left_out("spinlock::lock(", operation::modify));
}

// The worker passes its processor on by itself, while the monitor asks for it.
void passed_on(program& p) {
  auto w = std::make_shared<worker_and_monitor>();
  p.thread("worker", [=] {
    w->processor.set(1);
    if (!w->side.give_away(1)) return;
    w->processor.set(2);
  });
  p.thread("monitor", [=] {
    if (w->side.try_retake(1, [] { membarrier(); })) w->processor.set(3);
  });
}
TEST(memory_hand_off, one_gives_a_processor_away) { expect_holds(passed_on, {.preemptions = 4}); }
TEST(memory_hand_off, two_who_give_it_away_are_noticed) {
  expect_noticed(passed_on, left_out("hand_off::in_runtime(", operation::load));
}

}  // namespace
}  // namespace thrum::memory_model
