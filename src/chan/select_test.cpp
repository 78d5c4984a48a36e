// What select.hpp promises.
#include <thrum/select.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <thrum/channel.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class select_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, select_test, worker_counts, count_name);

constexpr auto ignore = [](auto&&...) {};

// Pearson's statistic against a uniform choice. 60 is beyond any plausible value for up to six cells.
double chi_square(const std::vector<int>& hits) {
  double total = 0, sum = 0;
  for (int n : hits) total += n;
  const double expected = total / static_cast<double>(hits.size());
  for (int n : hits) sum += (n - expected) * (n - expected) / expected;
  return sum;
}

TEST_P(select_test, chooses_uniformly_among_the_ready) {
  run([] {
    std::vector<channel<int>> ch;
    for (int i = 0; i < 4; ++i) ch.emplace_back(1);
    std::vector<int> hits(4);
    for (int round = 0; round < 4000; ++round) {
      for (auto& c : ch) (void)c.try_send(1);
      const auto chosen = select(ch[0].on_receive(ignore), ch[1].on_receive(ignore), ch[2].on_receive(ignore),
                                 ch[3].on_receive(ignore));
      ++hits[chosen];
    }
    EXPECT_LT(chi_square(hits), 60.0) << hits[0] << ' ' << hits[1] << ' ' << hits[2] << ' ' << hits[3];
  });
}

TEST_P(select_test, is_uniform_over_kinds_of_clauses_too) {
  run([] {
    channel<int> full(1), empty(1), closed(0);
    closed.close();
    std::vector<int> hits(4);
    for (int round = 0; round < 4000; ++round) {
      (void)full.try_send(1);
      (void)empty.try_receive();
      ++hits[select(full.on_receive(ignore), empty.on_send(1, ignore), closed.on_receive(ignore), after(0ms, ignore))];
    }
    EXPECT_LT(chi_square(hits), 60.0) << hits[0] << ' ' << hits[1] << ' ' << hits[2] << ' ' << hits[3];
  });
}

TEST_P(select_test, runs_exactly_the_function_of_the_chosen_clause) {
  run([] {
    channel<int> a(1), b(1);
    a.send(1);
    b.send(2);
    for (int round = 0; round < 200; ++round) {
      int calls = 0, value = 0;
      const auto chosen = select(a.on_receive([&](std::optional<int> v) { ++calls, value = *v; }),
                                 b.on_receive([&](std::optional<int> v) { ++calls, value = *v; }));
      EXPECT_EQ(calls, 1);
      EXPECT_EQ(value, chosen == 0 ? 1 : 2);
      // Exactly one has lost its element.
      EXPECT_EQ(a.size() + b.size(), 1u);
      (chosen == 0 ? a : b).send(value);
    }
  });
}

TEST_P(select_test, waits_until_something_is_ready) {
  run([] {
    channel<int> a(0), b(0);
    fiber f = spawn([&] {
      settle();
      b.send(9);
    });
    int got = 0;
    EXPECT_EQ(select(a.on_receive(ignore), b.on_receive([&](auto v) { got = *v; })), 1u);
    EXPECT_EQ(got, 9);
    f.join();
  });
}

TEST_P(select_test, a_waiting_send_clause_is_taken_by_a_receiver) {
  run([] {
    channel<std::unique_ptr<int>> a(0), b(0);
    fiber f = spawn([&] {
      settle();
      EXPECT_EQ(**b.receive(), 2);
    });
    bool sent = false;
    EXPECT_EQ(
        select(a.on_send(std::make_unique<int>(1), ignore), b.on_send(std::make_unique<int>(2), [&] { sent = true; })),
        1u);
    EXPECT_TRUE(sent);
    f.join();
    EXPECT_EQ(a.try_receive(), std::nullopt);
  });
}

TEST_P(select_test, otherwise_is_taken_only_when_nothing_is_ready) {
  run([] {
    channel<int> ch(1), none;
    EXPECT_EQ(select(ch.on_receive(ignore), otherwise(ignore)), 1u);
    EXPECT_EQ(select(none.on_receive(ignore), none.on_send(1, ignore), otherwise(ignore)), 2u);
    ch.send(1);
    EXPECT_EQ(select(otherwise(ignore), ch.on_receive(ignore)), 1u);
    EXPECT_EQ(select(otherwise(ignore)), 0u);
    EXPECT_EQ(select(after(24h, ignore), otherwise(ignore)), 1u);
  });
}

TEST_P(select_test, the_earliest_timer_fires_and_not_before_its_time) {
  run([] {
    channel<int> never;
    const auto start = clock::now();
    bool fired = false;
    EXPECT_EQ(
        select(never.on_receive(ignore), after(24h, ignore), after(3ms, [&] { fired = true; }), after(1h, ignore)), 2u);
    EXPECT_TRUE(fired);
    EXPECT_GE(clock::now() - start, 3ms);
    EXPECT_EQ(select(at(start + 4ms, ignore), at(clock::time_point::max(), ignore)), 0u);
    EXPECT_GE(clock::now() - start, 4ms);
  });
}

TEST_P(select_test, a_closed_channel_is_ready) {
  run([] {
    channel<int> open(0), closed(0);
    closed.close();
    bool empty = false;
    EXPECT_EQ(select(open.on_receive(ignore), closed.on_receive([&](auto v) { empty = !v; })), 1u);
    EXPECT_TRUE(empty);
    EXPECT_THROW(select(open.on_receive(ignore), closed.on_send(1, ignore)), channel_closed);
  });
}

TEST_P(select_test, closing_wakes_a_waiting_select) {
  run([] {
    channel<int> a(0), b(0);
    fiber receiver = spawn([&] {
      bool empty = false;
      EXPECT_EQ(select(a.on_receive([&](auto v) { empty = !v; }), after(24h, ignore)), 0u);
      EXPECT_TRUE(empty);
    });
    fiber sender = spawn([&] { EXPECT_THROW(select(b.on_send(1, ignore), after(24h, ignore)), channel_closed); });
    settle();
    a.close();
    b.close();
    receiver.join();
    sender.join();
  });
}

TEST_P(select_test, never_meets_itself) {
  run([] {
    channel<int> ch(0);
    EXPECT_EQ(select(ch.on_receive(ignore), ch.on_send(1, ignore), otherwise(ignore)), 2u);
    EXPECT_EQ(select(ch.on_receive(ignore), ch.on_send(1, ignore), after(2ms, ignore)), 2u);
    EXPECT_EQ(select(ch.on_send(1, ignore), ch.on_receive(ignore), after(2ms, ignore)), 2u);
  });
}

TEST_P(select_test, two_that_send_and_receive_meet_each_other) {
  run([] {
    channel<int> ch(0);
    std::atomic<int> sent{0}, received{0};
    scope s;
    for (int k = 0; k < 4; ++k)
      s.go([&] {
        for (int i = 0; i < 100; ++i)
          select(ch.on_send(1, [&] { ++sent; }), ch.on_receive([&](auto v) {
            EXPECT_EQ(v, 1);
            ++received;
          }),
                 after(hang_guard, [] { ADD_FAILURE() << "nobody to meet"; }));
        // The last one may have no partner left.
        while (select(ch.on_receive([&](auto v) { received += v ? 1 : 0; }), after(20ms, ignore)) == 0) {
        }
      });
    s.join();
    EXPECT_EQ(sent, received);
  });
}

TEST_P(select_test, one_channel_may_stand_in_several_clauses) {
  run([] {
    channel<int> ch(1);
    std::vector<int> hits(3);
    for (int i = 0; i < 3000; ++i) {
      ch.send(i);
      ++hits[select(ch.on_receive(ignore), ch.on_receive(ignore), ch.on_receive(ignore))];
    }
    EXPECT_LT(chi_square(hits), 60.0);
    fiber f = spawn([&] {
      settle();
      ch.send(1);
    });
    EXPECT_LT(select(ch.on_receive(ignore), ch.on_receive(ignore)), 2u);
    f.join();
    EXPECT_EQ(ch.size(), 0u);
  });
}

TEST_P(select_test, losing_clauses_leave_no_trace) {
  run([] {
    channel<int> a(0), b(0), c(1);
    for (int i = 0; i < 50; ++i) {
      fiber f = spawn([&] { c.send(7); });
      EXPECT_EQ(select(a.on_receive(ignore), b.on_send(1, ignore), c.on_receive(ignore), after(24h, ignore)), 2u);
      f.join();
    }
    // No node is left that would take or give an element.
    EXPECT_FALSE(a.try_send(1));
    EXPECT_EQ(b.try_receive(), std::nullopt);
    EXPECT_EQ(c.size(), 0u);
  });
}

TEST_P(select_test, values_that_were_not_sent_are_destroyed) {
  run([] {
    auto watched = std::make_shared<int>(1);
    channel<std::shared_ptr<int>> a(0), b(0);
    EXPECT_EQ(select(a.on_send(watched, ignore), b.on_send(watched, ignore), otherwise(ignore)), 2u);
    EXPECT_EQ(watched.use_count(), 1);
    fiber f = spawn([&] { (void)b.receive(); });
    EXPECT_EQ(select(a.on_send(watched, ignore), b.on_send(watched, ignore)), 1u);
    f.join();
    EXPECT_EQ(watched.use_count(), 1);
  });
}

// Selects of many fibers over the same channels in different orders: none is lost, none doubled, nobody locks up.
TEST_P(select_test, elements_are_conserved_between_many) {
  run([] {
    channel<int> a(0), b(2), c(1);
    constexpr int senders = 4, each = 200;
    std::vector<std::atomic<int>> seen(senders * each);
    std::atomic<int> left{senders * each};
    const auto got = [&](std::optional<int> v) {
      if (!v) return;
      ++seen[static_cast<std::size_t>(*v)];
      --left;
    };
    scope s;
    for (int k = 0; k < senders; ++k)
      s.go([&, k] {
        for (int i = 0; i < each; ++i) {
          const int v = k * each + i;
          if (k % 2)
            select(a.on_send(v, ignore), b.on_send(v, ignore), c.on_send(v, ignore));
          else
            select(c.on_send(v, ignore), a.on_send(v, ignore), b.on_send(v, ignore));
        }
      });
    for (int k = 0; k < 3; ++k)
      s.go([&, k] {
        while (left > 0) {
          if (k == 0)
            select(b.on_receive(got), a.on_receive(got), c.on_receive(got), after(1ms, ignore));
          else
            select(a.on_receive(got), c.on_receive(got), b.on_receive(got), after(1ms, ignore));
        }
      });
    s.join();
    for (auto& n : seen) ASSERT_EQ(n, 1);
  });
}

TEST_P(select_test, is_a_cancellation_point_that_does_nothing_when_cancelled) {
  run([] {
    channel<int> ready(1), room(1), a(0);
    ready.send(1);
    fiber waiting = spawn([&] { EXPECT_THROW(select(a.on_receive(ignore), a.on_send(1, ignore)), cancelled); });
    settle();
    waiting.request_stop();
    waiting.join();
    EXPECT_FALSE(a.try_send(1));
    EXPECT_EQ(a.try_receive(), std::nullopt);
    scope s;
    s.cancel();
    EXPECT_THROW(select(ready.on_receive(ignore), room.on_send(1, ignore), otherwise(ignore)), cancelled);
    s.join();
    EXPECT_EQ(ready.size(), 1u);
    EXPECT_EQ(room.size(), 0u);
  });
}

TEST_P(select_test, an_exception_of_the_chosen_function_passes) {
  run([] {
    channel<int> ch(1);
    ch.send(1);
    EXPECT_THROW(select(ch.on_receive([](auto) { throw 3; })), int);
    EXPECT_EQ(ch.size(), 0u);
  });
}

TEST_P(select_test, a_null_channel_is_never_chosen) {
  run([] {
    channel<int> none, ch(1);
    for (int i = 0; i < 100; ++i) {
      ch.send(1);
      EXPECT_EQ(select(none.on_receive(ignore), none.on_send(1, ignore), ch.on_receive(ignore)), 2u);
    }
  });
}

TEST_P(select_test, many_clauses_at_once) {
  run([] {
    std::array<channel<int>, 12> ch;
    for (auto& c : ch) c = channel<int>(0);
    const auto wait_for_one = [&]<std::size_t... I>(std::index_sequence<I...>) {
      return select(ch[I].on_receive(ignore)...);
    };
    for (std::size_t i = 0; i < ch.size(); ++i) {
      fiber f = spawn([&] { ch[i].send(1); });
      EXPECT_EQ(wait_for_one(std::make_index_sequence<12>()), i);
      f.join();
    }
  });
}

TEST(select, works_on_a_plain_thread) {
  channel<int> a(0), b(0);
  std::thread t([&] { b.send(3); });
  EXPECT_EQ(select(a.on_receive(ignore), b.on_receive([](auto v) { EXPECT_EQ(v, 3); })), 1u);
  t.join();
  EXPECT_EQ(select(a.on_receive(ignore), after(1ms, ignore)), 1u);
  EXPECT_EQ(select(a.on_receive(ignore), otherwise(ignore)), 1u);
}

}  // namespace
}  // namespace thrum
