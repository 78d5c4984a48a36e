// Fibers on the scheduler as it is: parking, being woken by others, joining, changing workers and staying with one.
#include <memory>

#include <gtest/gtest.h>
#include <thrum/channel.hpp>
#include <thrum/event.hpp>

#include "memory_model/machine.hpp"
#include "sched/switch.hpp"

namespace thrum::memory_model {
namespace {

// A plain thread sets what the fiber waits for.
set_up parked_and_woken(unsigned processors) {
  return [=](program& p) {
    new_machines();
    struct state {
      explicit state(unsigned processors) : m(processors) {}
      machine m;
      event happened;
      plain<int> data, result;
    };
    auto s = std::make_shared<state>(processors);
    p.thread("main", [=] {
      auto& f = s->m.start_fiber([s = s.get()] {
        s->happened.wait();
        s->result.set(s->data.get());
      });
      s->data.set(1);
      s->happened.set();
      s->m.join(f);
      require(s->result.get() == 1, "the event comes too early");
      s->m.shut_down();
    });
  };
}
TEST(memory_fibers, who_is_parked_is_woken) {
  expect_holds(parked_and_woken(1), {.preemptions = 1, .stale_reads = 0});
  expect_holds_at_random(parked_and_woken(2), 1'000);
}
TEST(memory_fibers, who_is_not_parked_is_noticed) {
  expect_lost_wake_up(parked_and_woken(1), left_out("::publish_parked(", operation::modify), {.preemptions = 1});
}

// Two fibers meet, on one worker or two.
void they_meet(program& p) {
  new_machines();
  struct state {
    machine m{2};
    channel<plain<int>*> ch{0};
    plain<int> sent[2];
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    auto& receiver = s->m.start_fiber([s = s.get()] {
      for (int i = 0; i < 2; ++i) require((*s->ch.receive())->get() == i + 1, "an element is out of order");
    });
    auto& sender = s->m.start_fiber([s = s.get()] {
      for (int i = 0; i < 2; ++i) {
        s->sent[i].set(i + 1);
        s->ch.send(&s->sent[i]);
      }
    });
    s->m.join(sender);
    s->m.join(receiver);
    s->m.shut_down();
  });
}
TEST(memory_fibers, two_meet_on_any_worker) { expect_holds_at_random(they_meet, 2'000); }
TEST(memory_fibers, a_weaker_lock_between_them_is_noticed) {
  expect_noticed(they_meet, weakened("spinlock::try_lock(", operation::modify), {.executions = 20'000, .seed = 1});
}

// A fiber starts others and joins them: by switching to it directly, or from another worker.
void joined_by_their_parent(program& p) {
  new_machines();
  struct state {
    machine m{2};
    plain<int> results[2];
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    auto& parent = s->m.start_fiber([s = s.get()] {
      sched::fiber_control* children[2];
      for (int i = 0; i < 2; ++i) children[i] = &s->m.start_fiber([s, i] { s->results[i].set(1); });
      for (int i = 0; i < 2; ++i) {
        s->m.join(*children[i]);
        require(s->results[i].get() == 1, "a join returns before the end");
      }
    });
    s->m.join(parent);
    s->m.shut_down();
  });
}
TEST(memory_fibers, who_is_joined_has_ended) { expect_holds_at_random(joined_by_their_parent, 2'000); }
TEST(memory_fibers, a_weaker_end_is_noticed) {
  const limits l{.executions = 20'000, .seed = 1};
  expect_noticed(joined_by_their_parent, weakened("publish_end(", operation::store), l);
}

// A fiber that is pinned goes on on its worker, whoever finds it.
int changed_workers = 0;  // Of all executions, once it is no longer pinned.

void pinned(program& p) {
  new_machines();
  struct state {
    machine m{2};
    event happened, again;
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    auto& f = s->m.start_fiber([s = s.get()] {
      auto* w = sched::this_worker();
      sched::current_fiber()->pinned_to.store(w, std::memory_order_relaxed);
      s->happened.wait();
      require(sched::this_worker() == w, "a pinned fiber has changed its worker");
      sched::current_fiber()->pinned_to.store(nullptr, std::memory_order_relaxed);
      s->again.wait();
      if (sched::this_worker() != w) ++changed_workers;
    });
    s->happened.set();
    s->again.set();
    s->m.join(f);
    s->m.shut_down();
  });
}
TEST(memory_fibers, who_is_pinned_is_delivered) {
  changed_workers = 0;
  expect_holds_at_random(pinned, 3'000);
  EXPECT_GT(changed_workers, 0);
}
TEST(memory_fibers, a_delivery_of_which_nobody_is_told_is_noticed) {
  const limits l{.executions = 20'000, .seed = 1};
  expect_noticed(pinned, left_out("::take_mail(", operation::load), l);
  expect_lost_wake_up(pinned, left_out("scheduler::deliver(", operation::fence), l);
}

// A fiber that is expected to block gives its processor to a spare thread before it runs: where it is entered from the
// loop, and where another, which yields, switches to it and has to be queued by a worker without a processor.
int without_processor = 0;  // Of all executions.

void expected_to_block(program& p) {
  new_machines();
  struct state {
    machine m{1};
    event happened;
    plain<int> data;
  };
  auto s = std::make_shared<state>();
  s->m.home->ensure_spare();
  p.thread("main", [=] {
    auto& blocker = s->m.start_fiber([s = s.get()] {
      sched::current_fiber()->phase.store(sched::activity_phase::blocker, std::memory_order_release);
      s->happened.wait();
      if (!sched::this_worker()->p) ++without_processor;
      require(s->data.get() == 1, "the event comes too early");
    });
    auto& other = s->m.start_fiber([s = s.get()] {
      s->data.set(1);
      s->happened.set();
      auto* w = sched::this_worker();
      w->enter();
      sched::worker::yield(*w).leave();
    });
    s->m.join(other);
    s->m.join(blocker);
    s->m.shut_down();
  });
}
TEST(memory_fibers, who_is_expected_to_block_has_given_its_processor_away) {
  without_processor = 0;
  expect_holds_at_random(expected_to_block, 4'000);
  EXPECT_GT(without_processor, 100);
}

}  // namespace
}  // namespace thrum::memory_model
