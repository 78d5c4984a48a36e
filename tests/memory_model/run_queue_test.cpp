// The processor's queue: each fiber is taken exactly once, and who takes it sees what was done before it was pushed.
#include "sched/run_queue.hpp"

#include <array>
#include <new>

#include <gtest/gtest.h>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"

namespace thrum::memory_model {
namespace {

using sched::activity;
using queue = sched::bounded_run_queue<2, 2>;
using longer_queue = sched::bounded_run_queue<4, 4>;

struct item {
  plain<int> taken;  // So that both ends of a queue must have synchronised.
};

activity* pointer(item& i) { return reinterpret_cast<activity*>(&i); }
void take(activity* a) {
  auto& taken = reinterpret_cast<item*>(a)->taken;
  require(taken.get() == 1, "a fiber is taken twice, or before it was pushed");
  taken.set(2);
}
template <class Queue>
void drain(Queue& q) {
  while (auto* a = q.pop()) take(a);
}
template <class Queue>
void push(Queue& q, item& i) {
  i.taken.set(1);
  require(q.push(pointer(i)), "the queue is full");
}
template <class Queue>
void steal(Queue& from, Queue& own) {
  if (auto* a = from.steal_into(own)) take(a);
  drain(own);
}

template <class Queue>
struct queues {
  Queue mine{true}, first{true}, second{true};
  std::array<item, 8> items;

  // In the end: what has been pushed has been taken.
  void settle() {
    drain(mine);
    drain(first);
    drain(second);
    for (auto& i : items) require(i.taken.get() != 1, "a fiber is lost");
  }
};

// In one place for all executions: the addresses of the items are what late reads guess.
template <class Queue>
queues<Queue>* fresh_queues() {
  alignas(queues<Queue>) static std::byte room[sizeof(queues<Queue>)];
  return new (room) queues<Queue>;
}

template <class Queue>
using part = std::function<void(queues<Queue>&)>;

// The owner of `mine`, and a thief or two.
template <class Queue>
std::function<void(program&)> contended(part<Queue> owner, part<Queue> thief, part<Queue> other = nullptr) {
  return [=](program& p) {
    auto* q = fresh_queues<Queue>();
    p.thread("owner", [=] { owner(*q); });
    p.thread("thief", [=] { thief(*q); });
    if (other) p.thread("other", [=] { other(*q); });
    p.finally([=] { q->settle(); });
  };
}

void steal_first(queues<queue>& q) { steal(q.mine, q.first); }

// The ring has two places: the third fiber lies where the first lay, which a thief may be copying.
const auto oldest_and_thief = contended<queue>(
    [](queues<queue>& q) {
      push(q.mine, q.items[0]);
      push(q.mine, q.items[1]);
      if (auto* a = q.mine.pop()) take(a);
      if (q.mine.room() > 0) push(q.mine, q.items[2]);
      if (auto* a = q.mine.pop()) take(a);
    },
    steal_first);
const auto newest_and_thief = contended<queue>(
    [](queues<queue>& q) {
      push(q.mine, q.items[0]);
      push(q.mine, q.items[1]);
      if (auto* a = q.mine.pop_newest()) take(a);
      if (auto* a = q.mine.pop_newest()) take(a);
      push(q.mine, q.items[2]);
      if (auto* a = q.mine.pop_newest()) take(a);
    },
    steal_first);
const auto two_thieves = contended<queue>(
    [](queues<queue>& q) {
      push(q.mine, q.items[0]);
      push(q.mine, q.items[1]);
      if (auto* a = q.mine.pop_newest()) take(a);
    },
    steal_first, [](queues<queue>& q) { steal(q.mine, q.second); });
// The same, where the owner synchronises with the thief by nothing but push().
const auto overwritten_beside_a_thief = contended<queue>(
    [](queues<queue>& q) {
      push(q.mine, q.items[0]);
      push(q.mine, q.items[1]);
      q.items[2].taken.set(1);
      if (!q.mine.push(pointer(q.items[2]))) take(pointer(q.items[2]));
    },
    steal_first);
// What was stolen is stolen again.
const auto chain_of_thieves = contended<longer_queue>(
    [](queues<longer_queue>& q) {
      for (std::size_t i = 0; i < 4; ++i) push(q.mine, q.items[i]);
    },
    [](queues<longer_queue>& q) {
      if (auto* a = q.mine.steal_into(q.first)) take(a);
    },
    [](queues<longer_queue>& q) { steal(q.first, q.second); });

TEST(memory_run_queue, oldest_first_with_a_thief) { expect_holds(oldest_and_thief, {.preemptions = 3}); }
TEST(memory_run_queue, newest_first_with_a_thief) { expect_holds(newest_and_thief, {.preemptions = 3}); }
TEST(memory_run_queue, two_thieves_and_the_newest) { expect_holds(two_thieves, {}); }
TEST(memory_run_queue, an_exchange_that_fails_without_a_reason_is_tried_again) {
  expect_holds(oldest_and_thief, {.stale_reads = 2, .spurious_failures = 1});
  expect_holds(newest_and_thief, {.stale_reads = 2, .spurious_failures = 1});
}
TEST(memory_run_queue, what_was_stolen_is_stolen_again) { expect_holds(chain_of_thieves, {}); }

// A slot is read before it is overwritten: otherwise who reads it late gets what was pushed meanwhile.
constexpr limits with_late_reads{.stale_reads = 1, .late_reads = 1};

TEST(memory_run_queue, slots_are_read_before_they_are_overwritten) {
  expect_holds(oldest_and_thief, with_late_reads);
  expect_holds(newest_and_thief, with_late_reads);
  expect_holds(overwritten_beside_a_thief, with_late_reads);
}
TEST(memory_run_queue, slots_that_are_read_too_late_are_noticed) {
  expect_noticed(overwritten_beside_a_thief, weakened("::steal_into(", operation::modify), with_late_reads);
  expect_noticed(overwritten_beside_a_thief, weakened("::push(", operation::load), with_late_reads);
}

// More of everything than can be exhausted: the queue is filled and emptied from both ends, and stolen from by two who
// steal from each other.
void steal_from_both(queues<longer_queue>& q, longer_queue& own, longer_queue& other) {
  steal(q.mine, own);
  if (auto* a = q.mine.steal_into(own)) take(a);
  steal(other, own);
}
const auto busy = contended<longer_queue>(
    [](queues<longer_queue>& q) {
      for (std::size_t i = 0; i < 8; i += 4) {
        push(q.mine, q.items[i]);
        push(q.mine, q.items[i + 1]);
        if (auto* a = q.mine.pop_newest()) take(a);
        push(q.mine, q.items[i + 2]);
        push(q.mine, q.items[i + 3]);
        if (auto* a = q.mine.pop()) take(a);
        drain(q.mine);
      }
    },
    [](queues<longer_queue>& q) { steal_from_both(q, q.first, q.second); },
    [](queues<longer_queue>& q) { steal_from_both(q, q.second, q.first); });

TEST(memory_run_queue, a_busy_one_at_random) { expect_holds_at_random(busy, 10'000, {.preemptions = 5}); }
TEST(memory_run_queue, weaker_orders_are_noticed_at_random) {
  const limits l{.preemptions = 5, .executions = 20'000, .seed = 1};
  expect_noticed(busy, weakened("::push(", operation::store), l);
  expect_noticed(busy, weakened("::pop_newest(", operation::store), l);
  expect_noticed(busy, left_out("::pop_newest(", operation::modify), l);
}

TEST(memory_run_queue, weaker_orders_are_noticed) {
  expect_noticed(oldest_and_thief, weakened("::push(", operation::store));
  expect_noticed(newest_and_thief, weakened("::pop_newest(", operation::store));
  expect_noticed(newest_and_thief, weakened("::pop_newest(", operation::modify));
  expect_noticed(oldest_and_thief, weakened("::steal_into(", operation::load));
  expect_noticed(chain_of_thieves, weakened("::steal_into(", operation::store));
}
TEST(memory_run_queue, a_missing_generation_is_noticed) {
  expect_noticed(newest_and_thief, left_out("::pop_newest(", operation::modify));
}

}  // namespace
}  // namespace thrum::memory_model
