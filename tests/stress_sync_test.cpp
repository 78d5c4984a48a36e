// Storms on everything one can wait for that has no storm of its own, by fibers, tasks and threads at a time: each with
// an invariant that a lost or doubled wake-up, permit, element or value would break.
#include <array>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

constexpr unsigned crew = 6;
constexpr int rounds = 12 * scale;

THRUM_STRESS_SUITE(sync_storm);

TEST_P(sync_storm, an_event_that_is_set_lets_everybody_through) {
  run([] {
    repeat([] {
      std::vector<event> open(rounds), passed(rounds);
      std::vector<std::atomic<unsigned>> through(rounds);
      const auto pass = [&](std::size_t k) {
        EXPECT_TRUE(open[k].is_set());
        if (++through[k] == crew) passed[k].set();
      };
      fiber setter = spawn([&] {
        for (std::size_t k = 0; k < rounds; ++k) {
          open[k].set();
          passed[k].wait();
        }
      });
      crowd(
          crew,
          [&](unsigned i) {
            for (std::size_t k = 0; k < rounds; ++k) {
              if (i == 0)
                while (!open[k].wait_for(20us)) this_fiber::yield();
              else
                open[k].wait();
              pass(k);
            }
          },
          [&](unsigned i) -> task<> {
            for (std::size_t k = 0; k < rounds; ++k) {
              if (i == 1)
                while (!co_await open[k].async_wait_for(20us)) co_await async_yield();
              else
                co_await open[k].async_wait();
              pass(k);
            }
          });
      setter.join();
    });
  });
}

// Who waits for a group or latch may destroy it, and sees what the others did before.
TEST_P(sync_storm, a_wait_group_is_destroyed_by_who_waited_for_it) {
  run([] {
    repeat([] {
      for (int k = 0; k < scale; ++k) {
        auto group = std::make_unique<wait_group>(crew);
        auto start = std::make_unique<latch>(crew);
        std::array<int, crew> done{};
        fiber waiter = spawn([&] {
          group->wait();
          group.reset();
          for (int d : done) EXPECT_EQ(d, 1);
        });
        crowd(
            crew,
            [&](unsigned i) {
              start->arrive_and_wait();
              done[i] = 1;
              group->done();
            },
            [&](unsigned i) -> task<> {
              co_await start->async_arrive_and_wait();
              done[i] = 1;
              group->done();
            });
        waiter.join();
        EXPECT_FALSE(group);
      }
    });
  });
}

TEST_P(sync_storm, nobody_passes_a_barrier_before_all_have_arrived) {
  run([] {
    repeat([] {
      std::array<std::atomic<int>, crew> arrived{};
      int completions = 0;
      const auto complete = [&]() noexcept { ++completions; };  // By one at a time.
      barrier b(crew, complete);
      const auto check = [&](int phase) {
        for (auto& a : arrived) EXPECT_GE(a.load(), phase);
        EXPECT_GE(completions, phase);
      };
      crowd(
          crew,
          [&](unsigned i) {
            for (int phase = 1; phase <= rounds; ++phase) {
              arrived[i] = phase;
              b.arrive_and_wait();
              check(phase);
              b.arrive_and_wait();
            }
          },
          [&](unsigned i) -> task<> {
            for (int phase = 1; phase <= rounds; ++phase) {
              arrived[i] = phase;
              co_await b.async_arrive_and_wait();
              check(phase);
              co_await b.async_arrive_and_wait();
            }
          });
      EXPECT_EQ(completions, 2 * rounds);
    });
  });
}

TEST_P(sync_storm, what_is_done_once_is_seen_by_all_also_after_failures) {
  run([] {
    repeat([] {
      struct job {
        once_flag flag;
        int attempts = 0, done = 0;  // Written in the call.
        void work() {
          if (++attempts < 3) throw std::runtime_error("not yet");
          ++done;
        }
      };
      std::vector<job> jobs(rounds);
      crowd(
          crew,
          [&] {
            for (auto& j : jobs) {
              for (bool ok = false; !ok;) {
                try {
                  call_once(j.flag, [&] { j.work(); });
                  ok = true;
                } catch (const std::runtime_error&) {
                }
              }
              EXPECT_EQ(j.done, 1);
            }
          },
          [&]() -> task<> {
            for (auto& j : jobs) {
              const auto work = [&] { j.work(); };
              for (bool ok = false; !ok;) {
                try {
                  co_await async_call_once(j.flag, work);
                  ok = true;
                } catch (const std::runtime_error&) {
                }
              }
              EXPECT_EQ(j.done, 1);
            }
          });
      for (auto& j : jobs) EXPECT_EQ(j.attempts, 3);
    });
  });
}

TEST_P(sync_storm, waiting_on_an_address_passes_a_turn_around) {
  run([] {
    repeat([] {
      std::atomic<unsigned> turn{0};
      unsigned taken = 0;  // By whose turn it is.
      const auto pass_on = [&](unsigned now) {
        EXPECT_EQ(taken++, now);
        turn.store(now + 1, std::memory_order_release);
        wake_by_address_all(turn);
      };
      crowd(
          crew,
          [&](unsigned i) {
            for (int k = 0; k < rounds; ++k) {
              unsigned now;
              while ((now = turn.load(std::memory_order_acquire)) % crew != i) wait_on_address(turn, now);
              pass_on(now);
            }
          },
          [&](unsigned i) -> task<> {
            for (int k = 0; k < rounds; ++k) {
              unsigned now;
              while ((now = turn.load(std::memory_order_acquire)) % crew != i)
                (void)co_await async_wait_on_address_for(turn, now, 1ms);
              pass_on(now);
            }
          });
      EXPECT_EQ(taken, crew * unsigned(rounds));
    });
  });
}

TEST_P(sync_storm, guarded_data_that_is_waited_for_loses_nothing) {
  run([] {
    repeat([] {
      guarded<std::deque<int>> buffer;
      std::atomic<long> got{0};
      const auto has_room = [](const std::deque<int>& b) { return b.size() < 3; };
      const auto has_some = [](const std::deque<int>& b) { return !b.empty(); };
      fiber takers = spawn([&] {
        crowd(
            crew,
            [&] {
              for (int k = 1; k <= rounds; ++k) {
                auto b = buffer.wait(has_some);
                got += b->front();
                b->pop_front();
              }
            },
            [&]() -> task<> {
              for (int k = 1; k <= rounds; ++k) {
                auto b = co_await async_wait(buffer, has_some);
                got += b->front();
                b->pop_front();
              }
            });
      });
      crowd(
          crew,
          [&] {
            for (int k = 1; k <= rounds; ++k) buffer.wait(has_room)->push_back(k);
          },
          [&]() -> task<> {
            for (int k = 1; k <= rounds; ++k) {
              auto b = co_await async_wait(buffer, has_room);
              b->push_back(k);
            }
          });
      takers.join();
      EXPECT_EQ(got, crew * long{rounds} * (rounds + 1) / 2);
      EXPECT_TRUE(buffer.lock()->empty());
    });
  });
}

TEST_P(sync_storm, a_recursive_mutex_is_held_by_one_as_often_as_it_likes) {
  run([] {
    repeat([] {
      recursive_mutex m;
      int outer = 0, inner = 0;
      crowd(
          crew,
          [&] {
            for (int k = 0; k < rounds; ++k) {
              const std::lock_guard once(m);
              ++outer;
              if (k % 8 == 0) this_fiber::yield();
              const std::lock_guard again(m);
              EXPECT_EQ(++inner, outer);
            }
          },
          [&]() -> task<> {
            for (int k = 0; k < rounds; ++k) {
              co_await m.async_lock();
              ++outer;
              if (k % 8 == 0) co_await async_yield();
              co_await m.async_lock();
              EXPECT_EQ(++inner, outer);
              m.unlock();
              m.unlock();
            }
          });
      EXPECT_EQ(inner, int(crew) * rounds);
    });
  });
}

// A thread's first call may come while the owner, a thread that ends, gives back the identity that the first is given.
TEST_P(sync_storm, a_recursive_mutex_knows_a_new_thread_from_one_that_has_ended) {
  run([] {
    repeat([] {
      recursive_mutex m;
      int inside = 0;
      crowd(
          crew,
          [&] {
            for (int k = 0; k < scale; ++k)
              std::thread([&] {
                const std::lock_guard held(m);
                EXPECT_EQ(++inside, 1);
                --inside;
              }).join();
          },
          [&]() -> task<> {
            for (int k = 0; k < scale; ++k) {
              co_await m.async_lock();
              EXPECT_EQ(++inside, 1);
              --inside;
              m.unlock();
            }
          });
    });
  });
}

// Everybody who looks at a result sees the same, whether it is a value, a failure, or a promise that was dropped.
TEST_P(sync_storm, all_copies_of_a_future_tell_the_same) {
  run([] {
    repeat([] {
      std::vector<promise<int>> promises(rounds);
      std::vector<shared_future<int>> futures;
      for (auto& p : promises) futures.push_back(p.get_future().share());
      fiber producer = spawn([&] {
        for (std::size_t k = 0; k < promises.size(); ++k) {
          promise<int> p = std::move(promises[k]);
          if (k % 3 == 0) p.set_value(int(k));
          if (k % 3 == 1) p.set_exception(std::make_exception_ptr(std::out_of_range("")));
          if (k % 5 == 0) this_fiber::yield();
        }
      });
      const auto expect = [](std::size_t k, auto outcome) { EXPECT_EQ(outcome, k % 3); };
      crowd(
          crew,
          [&](unsigned i) {
            for (std::size_t k = 0; k < rounds; ++k) {
              try {
                if (i == 0)
                  while (!futures[k].wait_for(10us)) {
                  }
                EXPECT_EQ(futures[k].get(), int(k));
                expect(k, 0u);
              } catch (const std::out_of_range&) {
                expect(k, 1u);
              } catch (const broken_promise&) {
                expect(k, 2u);
              }
            }
          },
          [&](unsigned) -> task<> {
            for (std::size_t k = 0; k < rounds; ++k) {
              try {
                const int v = co_await futures[k].async_get();
                EXPECT_EQ(v, int(k));
                expect(k, 0u);
              } catch (const std::out_of_range&) {
                expect(k, 1u);
              } catch (const broken_promise&) {
                expect(k, 2u);
              }
            }
          });
      producer.join();
    });
  });
}

// The channel ends with the last sender; what is left in it when the last receiver goes is destroyed.
template <class Capacity>
void pass_through_ends(Capacity capacity) {
  auto [tx, rx] = make_channel<std::shared_ptr<int>>(capacity);
  const auto element = std::make_shared<int>(0);
  std::atomic<int> sent{0}, received{0};
  fiber senders = spawn([&, from = std::move(tx)]() mutable {
    crowd(
        crew,
        [&] {
          auto mine = from;
          for (int k = 0; k < rounds; ++k) mine.send(element), ++sent;
        },
        [&]() -> task<> {
          auto mine = from;
          for (int k = 0; k < rounds; ++k) {
            co_await mine.async_send(element);
            ++sent;
          }
        });
    from = {};
  });
  fiber receivers = spawn([&, from = std::move(rx)]() mutable {
    crowd(
        crew,
        [&] {
          auto mine = from;
          while (mine.receive()) ++received;
        },
        [&]() -> task<> {
          auto mine = from;
          for (;;) {
            const auto v = co_await mine.async_receive();
            if (!v) break;
            ++received;
          }
        });
    from = {};
  });
  senders.join();
  receivers.join();
  EXPECT_EQ(sent, int(crew) * rounds);
  EXPECT_EQ(received, sent);
  EXPECT_EQ(element.use_count(), 1);
}

TEST_P(sync_storm, a_channel_ends_with_its_last_sender) {
  run([] {
    repeat([] {
      pass_through_ends(0);
      pass_through_ends(3);
      pass_through_ends(unbounded);
    });
  });
}

TEST_P(sync_storm, elements_that_nobody_takes_any_more_are_destroyed) {
  run([] {
    repeat([] {
      auto [tx, rx] = make_channel<std::shared_ptr<int>>(unbounded);
      const auto element = std::make_shared<int>(0);
      fiber receiver = spawn([from = std::move(rx)]() mutable {
        for (int k = 0; k < rounds && from.receive(); ++k) {
        }
      });
      const auto send_until_closed = [&](auto& to) {
        try {
          for (;;) to.send(element);
        } catch (const channel_closed&) {
        }
      };
      crowd(
          crew,
          [&] {
            auto mine = tx;
            send_until_closed(mine);
          },
          [&]() -> task<> {
            auto mine = tx;
            try {
              for (;;) co_await mine.async_send(element);
            } catch (const channel_closed&) {
            }
          });
      receiver.join();
      EXPECT_EQ(element.use_count(), 1);
    });
  });
}

TEST_P(sync_storm, a_ticker_that_is_stopped_and_set_again_never_goes_back) {
  run([] {
    repeat([] {
      ticker every(50us);
      std::atomic<bool> over{false};
      const auto look = [](auto due, auto& last) {
        if (!due) return;
        EXPECT_GE(*due, last);
        last = *due;
      };
      fiber setter = spawn([&] {
        for (int k = 0; k < rounds; ++k) {
          this_fiber::sleep_for(20us);
          every.stop();
          every.reset(std::chrono::microseconds(20 + k % 40));
        }
        over = true;
        every.stop();
      });
      crowd(
          crew,
          [&] {
            auto mine = every;
            tick_time last{};
            while (!over) look(mine.receive_for(100us), last);
          },
          [&]() -> task<> {
            auto mine = every;
            tick_time last{};
            while (!over) {
              const auto due = co_await mine.async_receive_for(100us);
              look(due, last);
            }
          });
      setter.join();
    });
  });
}

// The bucket gives out no more than it held and was filled with meanwhile.
TEST_P(sync_storm, a_rate_limiter_never_gives_out_too_much) {
  run([] {
    repeat([] {
      constexpr double per_second = 200'000;
      constexpr std::size_t burst = 10;
      const auto start = clock::now();
      rate_limiter limit({.per_second = per_second, .burst = burst});
      std::atomic<long> taken{0};
      crowd(
          crew,
          [&](unsigned i) {
            for (int k = 0; k < rounds; ++k) {
              const std::size_t units = 1 + (i + unsigned(k)) % 3;
              if (k % 4 == 0 ? limit.try_acquire(units) : limit.try_acquire_for(200us, units)) taken += long(units);
            }
          },
          [&](unsigned i) -> task<> {
            for (int k = 0; k < rounds; ++k) {
              const std::size_t units = 1 + (i + unsigned(k)) % 3;
              const bool got = co_await limit.async_try_acquire_for(200us, units);
              if (got) taken += long(units);
            }
          });
      const std::chrono::duration<double> elapsed = clock::now() - start;
      EXPECT_LE(double(taken), burst + per_second * elapsed.count() + 1);
      EXPECT_GE(taken, long(burst));
    });
  });
}

TEST_P(sync_storm, a_worker_pool_runs_each_job_once_and_no_more_at_a_time_than_allowed) {
  run([] {
    repeat([] {
      constexpr int fibers = 3;
      std::atomic<int> running{0}, ran{0}, submitted{0}, refused{0};
      worker_pool pool({.fibers = fibers, .queue = 4});
      const auto job = [&] {
        EXPECT_LE(++running, fibers);
        if (ran % 4 == 0) this_fiber::yield();
        ++ran;
        --running;
      };
      fiber closer = spawn([&] {
        while (submitted < rounds) this_fiber::yield();
        pool.close();
      });
      crowd(
          crew,
          [&](unsigned i) {
            try {
              for (;;) {
                if (i == 0 && !pool.try_submit(job)) {
                  this_fiber::yield();
                  continue;
                }
                if (i != 0) pool.submit(job);
                ++submitted;
              }
            } catch (const worker_pool_closed&) {
              ++refused;
            }
          },
          [&](unsigned) -> task<> {
            try {
              for (;;) {
                co_await pool.async_submit(job);
                ++submitted;
              }
            } catch (const worker_pool_closed&) {
              ++refused;
            }
          });
      closer.join();
      pool.join();
      EXPECT_EQ(ran, submitted);
      EXPECT_EQ(refused, int(crew));
    });
  });
}

}  // namespace
}  // namespace thrum::stress
