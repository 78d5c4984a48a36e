// Storms of deadlines and cancellation: whatever races, an element is delivered once or was never taken.
#include <array>
#include <mutex>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

THRUM_STRESS_SUITE(deadline_storm);

// Receivers give up after some microseconds while senders, who give up too, send: the sums must agree.
TEST_P(deadline_storm, timeouts_racing_with_transfers_lose_nothing) {
  run([] {
    repeat([] {
      for (const std::size_t capacity : {0, 2}) {
        channel<std::uint64_t> c(capacity);
        std::atomic<std::uint64_t> sent{0}, received{0}, given_up{0};
        constexpr int fibers = 8, each = 20 * scale;
        wait_group sending(fibers), receiving(fibers);
        for (unsigned f = 0; f < fibers; ++f) {
          go([&, f] {
            dice random(f);
            for (std::uint64_t i = 1; i <= each; ++i) {
              if (c.send_for(std::uint64_t{i}, std::chrono::microseconds(random.below(60))))
                sent.fetch_add(i);
              else
                given_up.fetch_add(1);
            }
            sending.done();
          });
          go([&, f] {
            dice random(100 + f);
            while (!c.closed() || c.size() > 0)
              if (auto v = c.receive_for(std::chrono::microseconds(random.below(60)))) received.fetch_add(*v);
            receiving.done();
          });
        }
        sending.wait();
        c.close();
        receiving.wait();
        EXPECT_EQ(sent.load(), received.load());
      }
    });
  });
}

TEST_P(deadline_storm, many_timers_are_cancelled_and_fire_at_the_same_time) {
  run([] {
    repeat([] {
      constexpr int fibers = slow_build ? 100 : 500;
      wait_group all(fibers);
      channel<int> never_sent(0);
      for (unsigned f = 0; f < fibers; ++f) {
        go([&, f] {
          dice random(f);
          for (int i = 0; i < 5; ++i) {
            if (random.one_in(2))
              this_fiber::sleep_for(std::chrono::microseconds(random.below(3000)));
            else
              EXPECT_FALSE(never_sent.receive_for(std::chrono::microseconds(random.below(3000))));
          }
          all.done();
        });
      }
      all.wait();
    });
  });
}

TEST_P(deadline_storm, threads_time_out_beside_fibers) {
  run([] {
    repeat([] {
      channel<int> c(0);
      std::atomic<int> sent{0}, received{0};
      std::vector<std::thread> threads;
      for (unsigned t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
          dice random(t);
          for (int i = 0; i < 20 * scale; ++i)
            if (c.receive_for(std::chrono::microseconds(random.below(100)))) received.fetch_add(1);
        });
      }
      wait_group all(4);
      for (unsigned f = 0; f < 4; ++f) {
        go([&, f] {
          dice random(10 + f);
          for (int i = 0; i < 20 * scale; ++i)
            if (c.send_for(int{i}, std::chrono::microseconds(random.below(100)))) sent.fetch_add(1);
          all.done();
        });
      }
      all.wait();
      for (auto& t : threads) t.join();
      EXPECT_EQ(sent.load(), received.load());
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(select_storm);

// Every element that a select has sent is received by another select, exactly once.
TEST_P(select_storm, selects_among_selects_conserve_their_elements) {
  run([] {
    repeat([] {
      std::array<channel<int>, 4> c{channel<int>(0), channel<int>(0), channel<int>(1), channel<int>(3)};
      std::atomic<long> sent{0}, received{0}, senders{6};
      constexpr int each = 20 * scale;
      const auto take = [&](std::optional<int> v) {
        if (v) received.fetch_add(*v);
      };
      wait_group all(12);
      for (unsigned f = 0; f < 6; ++f) {
        go([&, f] {
          dice random(f);
          for (int i = 0; i < each; ++i) {
            const auto a = random.below(4), b = random.below(4);
            const auto add = [&] { sent.fetch_add(i); };
            if (random.one_in(3))
              select(c[a].on_send(i, add), c[b].on_send(i, add),
                     after(std::chrono::microseconds(random.below(50)), [] {}));
            else if (random.one_in(3))
              select(c[a].on_send(i, add), otherwise([] {}));
            else
              select(c[a].on_send(i, add), c[b].on_receive(take), c[b].on_send(i, add));
          }
          if (senders.fetch_sub(1) == 1)
            for (auto& one : c) one.close();
          all.done();
        });
        go([&, f] {
          dice random(50 + f);
          std::size_t open = 4;
          std::array<channel<int>, 4> mine = c;
          while (open > 0) {
            const auto drain = [&](std::size_t i) {
              return [&, i](std::optional<int> v) {
                take(v);
                if (!v) mine[i] = channel<int>(), --open;
              };
            };
            select(mine[0].on_receive(drain(0)), mine[1].on_receive(drain(1)), mine[2].on_receive(drain(2)),
                   mine[3].on_receive(drain(3)));
          }
          all.done();
        });
      }
      all.wait();
      EXPECT_EQ(sent.load(), received.load());
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(cancel_storm);

// A cancelled send or receive did not happen; a completion that beats its cancellation is delivered.
TEST_P(cancel_storm, cancelling_scopes_lose_no_element) {
  run([] {
    repeat([] {
      channel<int> c(0);
      std::atomic<long> sent{0}, received{0};
      constexpr int rounds = 5 * scale;
      for (int r = 0; r < rounds; ++r) {
        scope s;
        for (int f = 0; f < 4; ++f) {
          s.go([&] {
            for (;;) {
              c.send(1);
              sent.fetch_add(1);
            }
          });
          s.go([&] {
            for (;;) received.fetch_add(c.receive().value());
          });
        }
        if (r % 2)
          this_fiber::sleep_for(std::chrono::microseconds(r % 50));
        else
          this_fiber::yield();
        s.cancel();
        s.join();
        ASSERT_EQ(sent.load(), received.load());
        ASSERT_EQ(c.size(), 0u);
      }
    });
  });
}

TEST_P(cancel_storm, scopes_expire_while_their_fibers_work) {
  run([] {
    repeat([] {
      mutex m;
      condition_variable never_notified;
      std::atomic<int> alive{0};
      for (int r = 0; r < 3 * scale; ++r) {
        EXPECT_THROW(
            {
              scope s{.deadline = std::chrono::microseconds(100 + r % 7 * 50)};
              for (unsigned f = 0; f < 6; ++f) {
                s.go([&, f] {
                  alive.fetch_add(1);
                  struct leave {
                    std::atomic<int>& alive;
                    ~leave() { alive.fetch_sub(1); }
                  } guard{alive};
                  for (;;) {
                    if (f % 3 == 0) this_fiber::sleep_for(30us);
                    if (f % 3 == 1) this_fiber::yield();
                    if (f % 3 == 2) {
                      std::unique_lock hold(m);
                      never_notified.wait_for(hold, 1h);
                    }
                  }
                });
              }
              s.join();
            },
            timed_out);
        ASSERT_EQ(alive.load(), 0);
      }
    });
  });
}

int nested(int depth, dice& random) {
  if (depth == 0) {
    this_fiber::sleep_for(std::chrono::microseconds(random.below(100)));
    return 1;
  }
  scope s;
  auto a = s.async([&, seed = random.below(1000)] {
    dice own(seed);
    return nested(depth - 1, own);
  });
  auto b = s.async([&, seed = random.below(1000)] {
    dice own(seed);
    return nested(depth - 1, own);
  });
  s.join();
  return a.get() + b.get();
}

TEST_P(cancel_storm, trees_of_scopes_end_whole_or_are_cancelled_whole) {
  run([] {
    dice random(1);
    repeat([&] {
      EXPECT_EQ(nested(5, random), 32);
      for (int i = 0; i < scale; ++i) {
        fiber f = spawn([&, seed = random.below(1000)] {
          dice own(seed);
          nested(5, own);
        });
        this_fiber::sleep_for(std::chrono::microseconds(random.below(150)));
        f.request_stop();
        try {
          f.join();
        } catch (const broken_promise&) {  // A child was cancelled before its parent.
        }
      }
    });
  });
}

TEST_P(cancel_storm, the_first_failure_cancels_the_rest) {
  run([] {
    repeat([] {
      for (int r = 0; r < 3 * scale; ++r) {
        scope s;
        channel<int> never_sent(0);
        for (int f = 0; f < 8; ++f) {
          s.go([&, f] {
            if (f == 5) throw std::runtime_error("five");
            never_sent.receive();
          });
        }
        EXPECT_THROW(s.join(), std::runtime_error);
      }
    });
  });
}

TEST_P(cancel_storm, stopping_fibers_from_threads_races_with_their_end) {
  runtime rt({.workers = GetParam()});
  repeat([&] {
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        dice random(t);
        for (int i = 0; i < 20 * scale; ++i) {
          fiber f = rt.spawn([d = random.below(60)] { this_fiber::sleep_for(std::chrono::microseconds(d)); });
          spin(std::chrono::microseconds(random.below(60)));
          if (random.one_in(3))
            f.join();
          else
            f.request_stop();
        }
      });
    }
    for (auto& t : threads) t.join();
  });
}

}  // namespace
}  // namespace thrum::stress
