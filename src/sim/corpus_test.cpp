// Small programs with the bugs that concurrent systems had in production, and their repaired twins. The simulation must
// find each bug within its budget, and accuse no twin.
//
// The patterns are those of the studies of real bugs: Lu, Park, Seo and Zhou, "Learning from mistakes" (2008), for
// locks and orders; Tu, Liu, Song and Zhang, "Understanding real-world concurrency bugs in Go" (2019), for channels,
// wait groups and forgotten activities.
#include <array>
#include <atomic>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <thrum/sim.hpp>
#include <thrum/thrum.hpp>

namespace thrum {
namespace {

using namespace std::chrono_literals;

// A program in its two forms; `right` says which.
struct pattern {
  const char* name;
  void (*program)(bool right);
  bool leaves_someone_behind = false;  // The bug is that fibers are forgotten.
};

void require(bool holds) {
  if (!holds) throw std::logic_error("the program is wrong");
}

template <class F, class G>
void both(F f, G g) {
  fiber a = spawn(f), b = spawn(g);
  a.join();
  b.join();
}

// --- Orders and atomicity.

void lost_update(bool right) {
  mutex m;
  int balance = 0;
  const auto deposit = [&] {
    std::unique_lock hold(m);
    const int seen = balance;
    if (!right) {
      hold.unlock();
      hold.lock();
    }
    balance = seen + 1;
  };
  both(deposit, deposit);
  require(balance == 2);
}

void check_then_act(bool right) {
  guarded<std::vector<int>> free_seats(std::vector<int>{7});
  std::atomic<int> served{0};
  const auto reserve = [&] {
    if (right) {
      auto seats = free_seats.lock();
      if (seats->empty()) return;
      seats->pop_back();
    } else {
      if (free_seats.lock()->empty()) return;
      auto seats = free_seats.lock();
      require(!seats->empty());
      seats->pop_back();
    }
    ++served;
  };
  both(reserve, reserve);
  require(served == 1);
}

void used_before_it_was_set_up(bool right) {
  std::optional<int> configuration;
  event ready;
  both(
      [&] {
        this_fiber::yield();
        configuration = 42;
        ready.set();
      },
      [&] {
        if (right) ready.wait();
        this_fiber::yield();
        require(configuration.has_value());
      });
}

void destroyed_too_early(bool right) {
  auto session = std::make_shared<channel<int>>(1);
  bool alive = true;
  fiber worker = spawn([&] {
    this_fiber::yield();
    require(alive);
    session->send(1);
  });
  if (right) worker.join();
  alive = false;
  if (!right) worker.join();
}

void initialised_twice(bool right) {
  once_flag once;
  mutex m;
  int times = 0;
  bool done = false;
  const auto initialise = [&] {
    if (right) return call_once(once, [&] { ++times; });
    {
      const std::lock_guard hold(m);
      if (done) return;
    }
    const std::lock_guard hold(m);
    done = true;
    ++times;
  };
  both(initialise, initialise);
  require(times == 1);
}

void two_fields_one_invariant(bool right) {
  mutex m;
  int from = 100, to = 0;
  both(
      [&] {
        if (right) {
          const std::lock_guard hold(m);
          from -= 10;
          to += 10;
          return;
        }
        {
          const std::lock_guard hold(m);
          from -= 10;
        }
        const std::lock_guard hold(m);
        to += 10;
      },
      [&] {
        const std::lock_guard hold(m);
        require(from + to == 100);
      });
}

// --- Locks.

void lock_order_inversion(bool right) {
  mutex a, b;
  both(
      [&] {
        const std::lock_guard first(a);
        const std::lock_guard second(b);
      },
      [&] {
        const std::lock_guard first(right ? a : b);
        const std::lock_guard second(right ? b : a);
      });
}

void dining_philosophers(bool right) {
  std::array<mutex, 3> forks;
  scope table;
  for (std::size_t i = 0; i < forks.size(); ++i)
    table.go([&, i] {
      auto first = i, second = (i + 1) % forks.size();
      if (right && first > second) std::swap(first, second);
      const std::lock_guard one(forks[first]);
      const std::lock_guard other(forks[second]);
    });
  table.join();
}

void waits_with_the_lock_held(bool right) {
  mutex m;
  channel<int> answers(0);
  both(
      [&] {
        std::unique_lock hold(m);
        if (right) hold.unlock();
        (void)answers.receive();
      },
      [&] {
        { const std::lock_guard hold(m); }
        answers.send(1);
      });
}

void upgrades_a_shared_lock(bool right) {
  shared_mutex m;
  const auto read_then_write = [&] {
    m.lock_shared();
    if (right) m.unlock_shared();
    m.lock();  // Waits for all who read.
    m.unlock();
    if (!right) m.unlock_shared();
  };
  both(read_then_write, read_then_write);
}

void leaves_without_unlocking(bool right) {
  mutex m;
  const auto work = [&](bool fails) {
    m.lock();
    if (fails && !right) return;
    m.unlock();
  };
  both([&] { work(true); }, [&] { work(false); });
  m.lock();
  m.unlock();
}

void permit_is_not_given_back(bool right) {
  counting_semaphore<> connections(2);
  const auto request = [&](bool fails) {
    connections.acquire();
    if (fails && !right) return;
    connections.release();
  };
  scope s;
  for (int i = 0; i < 4; ++i) s.go([&, i] { request(i % 2 == 0); });
  s.join();
  connections.acquire();
}

void released_twice(bool right) {
  binary_semaphore alone(1);
  std::atomic<int> inside{0};
  const auto work = [&] {
    alone.acquire();
    ++inside;
    this_fiber::yield();
    require(inside == 1);
    --inside;
    alone.release();
    if (!right) alone.release();
  };
  scope s;
  for (int i = 0; i < 3; ++i) s.go(work);
  s.join();
}

void waits_for_its_own_joiner(bool right) {
  event parent_is_done;
  fiber child = spawn([&] {
    if (!right) parent_is_done.wait();
  });
  child.join();
  parent_is_done.set();
}

// --- Conditions.

void lost_signal(bool right) {
  mutex m;
  condition_variable changed;
  bool ready = false;
  both(
      [&] {
        std::unique_lock hold(m);
        if (right)
          changed.wait(hold, [&] { return ready; });
        else
          changed.wait(hold);
      },
      [&] {
        {
          const std::lock_guard hold(m);
          ready = true;
        }
        changed.notify_one();
      });
}

void predicate_without_the_lock(bool right) {
  mutex m;
  condition_variable changed;
  bool ready = false;
  both(
      [&] {
        std::unique_lock hold(m, std::defer_lock);
        if (right) {
          hold.lock();
          changed.wait(hold, [&] { return ready; });
        } else if (!ready) {
          hold.lock();
          changed.wait(hold);
        }
      },
      [&] {
        {
          const std::lock_guard hold(m);
          ready = true;
        }
        changed.notify_all();
      });
}

void if_instead_of_while(bool right) {
  mutex m;
  condition_variable filled;
  std::deque<int> queue;
  const auto take = [&] {
    std::unique_lock hold(m);
    if (right)
      filled.wait(hold, [&] { return !queue.empty(); });
    else if (queue.empty())
      filled.wait(hold);
    require(!queue.empty());
    queue.pop_front();
  };
  const auto put = [&] {
    {
      const std::lock_guard hold(m);
      queue.push_back(1);
    }
    filled.notify_all();
  };
  fiber a = spawn(take), b = spawn(take), c = spawn([&] {
                                            put();
                                            put();
                                          });
  a.join();
  b.join();
  c.join();
}

void one_is_notified_where_all_wait(bool right) {
  mutex m;
  condition_variable opened;
  bool open = false;
  const auto enter = [&] {
    std::unique_lock hold(m);
    opened.wait(hold, [&] { return open; });
  };
  fiber a = spawn(enter), b = spawn(enter);
  {
    const std::lock_guard hold(m);
    open = true;
  }
  if (right)
    opened.notify_all();
  else
    opened.notify_one();
  a.join();
  b.join();
}

// A buffer of one place: with one condition for both sides, a producer may wake the other producer.
void one_condition_for_two_sides(bool right) {
  mutex m;
  condition_variable changed;
  int full = 0;
  const auto move = [&](int from) {
    std::unique_lock hold(m);
    changed.wait(hold, [&] { return full == from; });
    full = 1 - from;
    if (right)
      changed.notify_all();
    else
      changed.notify_one();
  };
  scope s;
  for (int i = 0; i < 3; ++i) {
    s.go([&] { move(0); });
    s.go([&] { move(1); });
  }
  s.join();
}

void stores_and_wakes_nobody(bool right) {
  std::atomic<bool> stopping{false};
  both(
      [&] {
        while (!stopping) wait_on_address(stopping, false);
      },
      [&] {
        stopping = true;
        if (right) wake_by_address_all(stopping);
      });
}

void event_is_reset_too_early(bool right) {
  event go;
  latch entered(2);
  const auto wait = [&] {
    go.wait();
    entered.count_down();
  };
  fiber a = spawn(wait), b = spawn(wait);
  go.set();
  if (right) entered.wait();
  go.reset();
  a.join();
  b.join();
}

// --- Channels.

void nobody_receives(bool right) {
  channel<int> result(right ? 1 : 0);
  go([result]() mutable { result.send(42); });
  const bool in_time = result.receive_for(1us).has_value();
  (void)in_time;
}

void forgotten_close(bool right) {
  channel<int> jobs(2);
  go([jobs]() mutable {
    for (const int job : jobs) (void)job;
  });
  jobs.send(1);
  if (right) jobs.close();
}

void closed_twice(bool right) {
  channel<int> done(0);
  once_flag once;
  const auto finish = [&] {
    if (right)
      call_once(once, [&] { done.close(); });
    else if (!done.closed()) {
      this_fiber::yield();
      done.close();
    }
  };
  both(finish, finish);
}

void sends_on_a_closed_one(bool right) {
  channel<int> ch(4);
  wait_group senders(2);
  const auto send = [&] {
    ch.send(1);
    senders.done();
  };
  fiber a = spawn(send), b = spawn(send);
  if (right) senders.wait();
  ch.close();
  a.join();
  b.join();
}

void null_channel(bool right) {
  channel<int> ch;
  if (right) ch = channel<int>(1);
  fiber f = spawn([&] { ch.send(1); });
  f.join();
}

void select_without_a_way_out(bool right) {
  channel<int> work(0), stop(0);
  fiber worker = spawn([&] {
    for (bool on = true; on;) {
      if (right)
        select(work.on_receive([](auto) {}), stop.on_receive([&](auto) { on = false; }));
      else
        select(work.on_receive([](auto) {}));
    }
  });
  work.send(1);
  if (right) stop.close();
  worker.join();
}

void each_waits_to_receive_first(bool right) {
  channel<int> ping(0), pong(0);
  both(
      [&] {
        if (right) ping.send(1);
        (void)pong.receive();
        if (!right) ping.send(1);
      },
      [&] {
        (void)ping.receive();
        pong.send(1);
      });
}

void answers_out_of_order(bool right) {
  channel<int> answers(2);
  std::array<channel<int>, 2> own{channel<int>(1), channel<int>(1)};
  const auto ask = [&](int i) { (right ? own[static_cast<std::size_t>(i)] : answers).send(i); };
  fiber a = spawn([&] { ask(0); }), b = spawn([&] { ask(1); });
  for (int i = 0; i < 2; ++i) require((right ? own[static_cast<std::size_t>(i)] : answers).receive() == i);
  a.join();
  b.join();
}

void the_queue_is_full_of_ones_own(bool right) {
  channel<int> queue(right ? 4 : 1);
  fiber f = spawn([&] {
    for (int i = 0; i < 3; ++i) queue.send(i);
    for (int i = 0; i < 3; ++i) (void)queue.receive();
  });
  f.join();
}

// --- Groups, ends, cancellation, time.

void added_after_the_wait_began(bool right) {
  wait_group all;
  std::atomic<int> done{0};
  if (right) all.add(1);
  fiber f = spawn([&] {
    if (!right) all.add(1);
    this_fiber::yield();
    ++done;
    all.done();
  });
  all.wait();
  require(done == 1);
  f.join();
}

void one_done_is_missing(bool right) {
  wait_group all(2);
  const auto work = [&](bool fails) {
    if (fails && !right) return;
    all.done();
  };
  both([&] { work(true); }, [&] { work(false); });
  all.wait();
}

void barrier_for_one_too_many(bool right) {
  barrier<> meet(right ? 2 : 3);
  both([&] { meet.arrive_and_wait(); }, [&] { meet.arrive_and_wait(); });
}

void forgotten_cancel(bool right) {
  auto stop = std::make_shared<event>();
  go([stop] { stop->wait(); });
  if (right) stop->set();
}

void forgotten_ticker(bool right) {
  channel<int> done(0);
  go([done, right]() mutable {
    for (int beats = 0; !right || beats < 3; ++beats) this_fiber::sleep_for(10ms);
    done.close();
  });
  this_fiber::sleep_for(50ms);
}

void promise_is_never_kept(bool right) {
  promise<int> p;
  auto f = p.get_future();
  fiber worker = spawn([&] {
    if (right) p.set_value(1);
  });
  worker.join();
  (void)f.get();
}

void gives_up_and_the_answer_comes(bool right) {
  std::optional<int> answer;
  fiber asked = spawn([&] {
    this_fiber::sleep_for(1ms);
    answer = 42;
  });
  if (right)
    asked.join();
  else
    this_fiber::sleep_for(1ms);
  require(answer == 42);
  if (asked.joinable()) asked.join();
}

void swallows_its_cancellation(bool right) {
  fiber f = spawn([&] {
    for (;;) {
      try {
        this_fiber::sleep_for(1s);
      } catch (const cancelled&) {
        if (right) throw;
      }
    }
  });
  f.request_stop();
  f.join();
}

void two_who_wait_for_each_other(bool right) {
  future<int> a, b;
  promise<int> pa, pb;
  a = pa.get_future();
  b = pb.get_future();
  both(
      [&] {
        if (right) pa.set_value(1);
        const int other = b.get();
        if (!right) pa.set_value(other);
      },
      [&] { pb.set_value(a.get()); });
}

void task_holds_a_lock_while_it_sleeps(bool right) {
  mutex m;
  bool late = false;
  auto sleeper = spawn([&]() -> task<> {
    {
      auto hold = co_await m.async_scoped_lock();
      if (!right) co_await async_sleep_for(10ms);
    }
    if (right) co_await async_sleep_for(10ms);
  });
  fiber hurried = spawn([&] {
    const auto start = clock::now();
    const std::lock_guard hold(m);
    late = clock::now() - start > 5ms;
  });
  hurried.join();
  sleeper.join();
  require(!late);
}

void tasks_lose_an_update(bool right) {
  mutex m;
  int total = 0;
  const auto add = [&]() -> task<> {
    if (right) {
      auto hold = co_await m.async_scoped_lock();
      ++total;
      co_return;
    }
    const int seen = total;
    co_await async_yield();
    total = seen + 1;
  };
  auto a = spawn(add()), b = spawn(add());
  a.join();
  b.join();
  require(total == 2);
}

const pattern patterns[] = {
    {"lost_update", lost_update},
    {"check_then_act", check_then_act},
    {"used_before_it_was_set_up", used_before_it_was_set_up},
    {"destroyed_too_early", destroyed_too_early},
    {"initialised_twice", initialised_twice},
    {"two_fields_one_invariant", two_fields_one_invariant},
    {"lock_order_inversion", lock_order_inversion},
    {"dining_philosophers", dining_philosophers},
    {"waits_with_the_lock_held", waits_with_the_lock_held},
    {"upgrades_a_shared_lock", upgrades_a_shared_lock},
    {"leaves_without_unlocking", leaves_without_unlocking},
    {"permit_is_not_given_back", permit_is_not_given_back},
    {"released_twice", released_twice},
    {"waits_for_its_own_joiner", waits_for_its_own_joiner},
    {"lost_signal", lost_signal},
    {"predicate_without_the_lock", predicate_without_the_lock},
    {"if_instead_of_while", if_instead_of_while},
    {"one_is_notified_where_all_wait", one_is_notified_where_all_wait},
    {"one_condition_for_two_sides", one_condition_for_two_sides},
    {"stores_and_wakes_nobody", stores_and_wakes_nobody},
    {"event_is_reset_too_early", event_is_reset_too_early},
    {"nobody_receives", nobody_receives, true},
    {"forgotten_close", forgotten_close, true},
    {"closed_twice", closed_twice},
    {"sends_on_a_closed_one", sends_on_a_closed_one},
    {"null_channel", null_channel},
    {"select_without_a_way_out", select_without_a_way_out},
    {"each_waits_to_receive_first", each_waits_to_receive_first},
    {"answers_out_of_order", answers_out_of_order},
    {"the_queue_is_full_of_ones_own", the_queue_is_full_of_ones_own},
    {"added_after_the_wait_began", added_after_the_wait_began},
    {"one_done_is_missing", one_done_is_missing},
    {"barrier_for_one_too_many", barrier_for_one_too_many},
    {"forgotten_cancel", forgotten_cancel, true},
    {"forgotten_ticker", forgotten_ticker, true},
    {"promise_is_never_kept", promise_is_never_kept},
    {"gives_up_and_the_answer_comes", gives_up_and_the_answer_comes},
    {"swallows_its_cancellation", swallows_its_cancellation},
    {"two_who_wait_for_each_other", two_who_wait_for_each_other},
    {"task_holds_a_lock_while_it_sleeps", task_holds_a_lock_while_it_sleeps},
    {"tasks_lose_an_update", tasks_lose_an_update},
};

void PrintTo(const pattern& p, std::ostream* out) { *out << p.name; }

// A schedule costs some hundred microseconds, and many times that under a sanitizer. What finds the bug ends there.
constexpr std::size_t to_find = 1000;
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr std::size_t to_acquit = 1000;
#else
constexpr std::size_t to_acquit = 100;
#endif

constexpr sim::strategy strategies[] = {sim::strategy::random_walk, sim::strategy::pct, sim::strategy::uniform,
                                        sim::strategy::exhaustive};

sim::verdict check(const pattern& p, bool right, const sim::budget& b) {
  auto those = b;
  those.shrink = false;
  those.each.decisions_max = 5'000;
  those.each.leaks_fail = p.leaves_someone_behind;
  return sim::check([&p, right] { p.program(right); }, those);
}

class corpus : public ::testing::TestWithParam<pattern> {};
INSTANTIATE_TEST_SUITE_P(patterns, corpus, ::testing::ValuesIn(patterns),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(corpus, the_bug_is_found_and_its_repair_is_not_accused) {
  for (const auto how : strategies) {
    EXPECT_FALSE(check(GetParam(), false, {.schedules = to_find, .how = how}).passed);
    const auto repaired = check(GetParam(), true, {.schedules = to_acquit, .how = how});
    EXPECT_TRUE(repaired.passed) << repaired.report;
  }
}

// Prints the table of docs/guide/simulation.md: of 1,000 schedules, how many find the bug. check() knows how long a
// program is from the schedules before; here the horizon is given.
TEST(score, DISABLED_of_the_corpus) {
  constexpr std::uint64_t tried = 250;
  std::puts("| bug | random walk | pct |\n|---|---:|---:|");
  for (const auto& p : patterns) {
    std::printf("| %s |", p.name);
    for (const auto how : {sim::strategy::random_walk, sim::strategy::pct}) {
      std::uint64_t found = 0;
      for (std::uint64_t seed = 1; seed <= tried; ++seed)
        found += !check(p, false, {.schedules = 1, .first_seed = seed, .how = how, .each = {.horizon = 16}}).passed;
      std::printf(" %llu |", static_cast<unsigned long long>(1000 / tried * found));
    }
    std::puts("");
  }
}

}  // namespace
}  // namespace thrum
