// What waits on top of the waiters, by plain threads: the spinlock, the mutex, the channel, timers.
#include <memory>
#include <utility>

#include <gtest/gtest.h>
#include <thrum/channel.hpp>
#include <thrum/detail/spinlock.hpp>
#include <thrum/mutex.hpp>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"
#include "os/futex.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/timers.hpp"

namespace thrum::memory_model {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// Locks: who holds one is alone with the data.

template <class Lock>
void count_up(Lock& l, plain<int>& counted) {
  l.lock();
  counted.set(counted.get() + 1);
  l.unlock();
}

template <class Lock>
set_up guarded(int threads) {
  return [=](program& p) {
    struct state {
      Lock lock;
      plain<int> counted;
    };
    fresh_waiters();
    auto s = std::make_shared<state>();
    for (int i = 0; i < threads; ++i) p.thread("locker", [=] { count_up(s->lock, s->counted); });
    p.finally([=] { require(s->counted.get() == threads, "an update is lost"); });
  };
}

TEST(memory_spinlock, guards_plain_data) { expect_holds(guarded<detail::spinlock>(3), {}); }
TEST(memory_spinlock, weaker_orders_are_noticed) {
  expect_noticed(guarded<detail::spinlock>(2), weakened("spinlock::lock(", operation::modify));
  expect_noticed(guarded<detail::spinlock>(2), weakened("spinlock::try_lock(", operation::modify));
  expect_noticed(guarded<detail::spinlock>(2), weakened("spinlock::unlock(", operation::store));
}

TEST(memory_mutex, guards_plain_data_and_forgets_nobody) { expect_holds(guarded<mutex>(2), {.preemptions = 3}); }
TEST(memory_mutex, nor_among_three) { expect_holds(guarded<mutex>(3), {.stale_reads = 2}); }
TEST(memory_mutex, nor_when_loads_are_late) {
  expect_holds(guarded<mutex>(2), {.preemptions = 3, .stale_reads = 2, .late_reads = 2});
}
TEST(memory_mutex, weaker_orders_are_noticed) {
  expect_noticed(guarded<mutex>(2), weakened("mutex::take(", operation::modify));
  expect_noticed(guarded<mutex>(2), weakened("mutex::unlock(", operation::modify));
  expect_noticed(guarded<mutex>(2), weakened("mutex::take_or_announce(", operation::modify));
}
TEST(memory_mutex, an_unlock_that_is_not_said_is_noticed) {
  expect_lost_wake_up(guarded<mutex>(2), left_out("mutex::unlock_slow(", operation::store));
}

// ---------------------------------------------------------------------------------------------------------------
// Channels: the receiver sees what was done before the send.

set_up sent_and_received(std::size_t capacity, int elements) {
  return [=](program& p) {
    struct state {
      explicit state(std::size_t capacity) : ch(capacity) {}
      channel<plain<int>*> ch;
      plain<int> elements[3];
    };
    fresh_waiters();
    auto s = std::make_shared<state>(capacity);
    p.thread("sender", [=] {
      for (int i = 0; i < elements; ++i) {
        s->elements[i].set(i + 1);
        s->ch.send(&s->elements[i]);
      }
    });
    p.thread("receiver", [=] {
      for (int i = 0; i < elements; ++i) require((*s->ch.receive())->get() == i + 1, "an element is out of order");
    });
  };
}

TEST(memory_channel, a_rendezvous_is_missed_by_nobody) { expect_holds(sent_and_received(0, 1), {.preemptions = 3}); }
TEST(memory_channel, elements_arrive_through_a_buffer_of_one) { expect_holds(sent_and_received(1, 2), {}); }
TEST(memory_channel, weaker_orders_are_noticed) {
  expect_noticed(sent_and_received(1, 2), weakened("spinlock::unlock(", operation::store));
  expect_noticed(sent_and_received(1, 2), weakened("spinlock::lock(", operation::modify));
}
TEST(memory_channel, waiters_that_do_not_park_are_noticed) {
  expect_lost_wake_up(sent_and_received(0, 1), left_out("::publish_parked(", operation::modify));
}

// A receiver waits while the channel is closed.
void closed_while_somebody_receives(program& p) {
  fresh_waiters();
  auto ch = std::make_shared<channel<int>>(0);
  p.thread("receiver", [=] { require(!ch->receive(), "something was received"); });
  p.thread("closer", [=] { ch->close(); });
}
TEST(memory_channel, closing_wakes_who_receives) { expect_holds(closed_while_somebody_receives, {.preemptions = 3}); }

// Whoever has the last handle destroys what the channel holds, after all that the others have done.
struct token {
  explicit token(plain<int>& p) : used(&p) {}
  token(token&& other) noexcept : used(std::exchange(other.used, nullptr)) {}
  ~token() {
    if (used) used->set(2);
  }
  plain<int>* used;
};
void released_by_two(program& p) {
  struct state {
    plain<int> used;
    channel<token> first{1}, second{first};
  };
  auto s = std::make_shared<state>();
  p.thread("sender", [=] {
    s->used.set(1);
    s->first.try_send(token(s->used));
    s->first = {};
  });
  p.thread("friend", [=] { s->second = {}; });
}
TEST(memory_channel, the_last_handle_destroys_what_is_left) { expect_holds(released_by_two, {.preemptions = 4}); }
TEST(memory_channel, handles_that_do_not_synchronise_are_noticed) {
  expect_noticed(released_by_two, weakened("detail::release(", operation::modify));
}

// ---------------------------------------------------------------------------------------------------------------
// Timers.

struct timed {
  sched::timer_set set;
  sched::timer timer;
  plain<int> owned;  // Lives as long as the timer.
};

// A waiter is woken by its timer or by somebody else; when it returns, nobody uses its timer.
void fired_or_woken(program& p) {
  fresh_waiters();
  auto s = std::make_shared<timed>();
  const auto episode = waiter_of(1).open_episode(true);
  p.thread("sleeper", [=] {
    auto& self = sched::thread_waiter::mine();
    s->timer.when = 1;
    s->timer.who = &self;
    s->timer.episode = episode;
    s->set.arm(s->timer, 0);
    self.park(os::no_deadline, {&sched::waits_for_nothing});
    if (self.code() != sched::claim_code::timed_out) sched::timer_set::cancel(s->timer);
  });
  p.thread("server", [=] {
    sched::runnable_batch batch;
    while (!waiter_of(1).claimed()) {
      s->set.fire_due(1, batch);
      yield();
    }
  });
}
TEST(memory_timers, a_timer_wakes_its_waiter) { expect_holds(fired_or_woken, {}); }

// A callback runs without the lock; cancel() waits for its end.
void cancelled_while_it_fires(program& p) {
  auto s = std::make_shared<timed>();
  s->timer.when = 1;
  s->timer.callback = [](sched::timer& t, sched::runnable_batch&) noexcept {
    auto& owned = *reinterpret_cast<plain<int>*>(t.episode);
    owned.set(owned.get() + 1);
  };
  s->timer.episode = reinterpret_cast<std::uintptr_t>(&s->owned);
  p.thread("owner", [=] {
    s->set.arm(s->timer, 0);
    sched::timer_set::cancel(s->timer);
    s->owned.set(2);  // It is the owner's again.
  });
  p.thread("server", [=] {
    sched::runnable_batch batch;
    s->set.fire_due(1, batch);
  });
}
TEST(memory_timers, nobody_uses_a_cancelled_timer) { expect_holds(cancelled_while_it_fires, {.preemptions = 4}); }
TEST(memory_timers, weaker_orders_are_noticed) {
  expect_noticed(cancelled_while_it_fires, weakened("timer_set::fire_due(", operation::store), {.preemptions = 4});
  expect_noticed(cancelled_while_it_fires, weakened("timer_set::cancel(", operation::load), {.preemptions = 4});
  expect_noticed(cancelled_while_it_fires, left_out("timer_set::cancel(", operation::load), {.preemptions = 4});
}

}  // namespace
}  // namespace thrum::memory_model
