// What fiber.hpp promises: starting, joining, stopping, detaching, and what a fiber can do for itself.
#include <thrum/fiber.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class fiber_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, fiber_test, worker_counts, count_name);

TEST_P(fiber_test, go_runs_the_function_once) {
  run([] {
    std::atomic<int> runs{0};
    for (int i = 0; i < 100; ++i) go([&] { ++runs; });
    EXPECT_TRUE(eventually([&] { return runs == 100; }));
  });
}

TEST_P(fiber_test, join_waits_for_the_end) {
  run([] {
    bool done = false;
    fiber f = spawn([&] {
      this_fiber::sleep_for(a_moment);
      done = true;
    });
    f.join();
    EXPECT_TRUE(done);
    EXPECT_FALSE(f.joinable());
  });
}

TEST_P(fiber_test, join_throws_what_the_fiber_threw) {
  run([] {
    fiber f = spawn([] { throw std::runtime_error("from the fiber"); });
    try {
      f.join();
      ADD_FAILURE() << "join did not throw";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "from the fiber");
    }
    EXPECT_FALSE(f.joinable());
  });
}

TEST_P(fiber_test, join_carries_exceptions_that_are_no_std_exceptions) {
  run([] {
    fiber f = spawn([] { throw 42; });
    EXPECT_THROW(f.join(), int);
  });
}

TEST_P(fiber_test, joining_what_is_not_joinable_is_invalid_argument) {
  run([] {
    fiber none;
    EXPECT_FALSE(none.joinable());
    EXPECT_EQ(none.get_id(), 0u);
    try {
      none.join();
      ADD_FAILURE() << "join did not throw";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::invalid_argument);
    }
    EXPECT_THROW(none.detach(), std::system_error);
    none.request_stop();  // Harmless.
  });
}

TEST_P(fiber_test, a_cancelled_join_leaves_the_fiber_joinable) {
  run([] {
    std::atomic<bool> end{false};
    bool was_joinable = false;
    fiber inner = spawn([&] { EXPECT_TRUE(eventually([&] { return end.load(); })); });
    fiber joiner = spawn([&] {
      try {
        inner.join();
        ADD_FAILURE() << "join was not cancelled";
      } catch (const cancelled&) {
        was_joinable = inner.joinable();
        throw;
      }
    });
    settle();
    joiner.request_stop();
    joiner.join();
    EXPECT_TRUE(was_joinable);
    end = true;
    inner.join();
  });
}

TEST_P(fiber_test, leaving_with_cancelled_is_a_normal_end) {
  run([] {
    std::atomic<bool> left{false};
    go([&] {
      left = true;
      throw cancelled{};
    });
    fiber f = spawn([] { throw cancelled{}; });
    f.join();
    EXPECT_TRUE(eventually([&] { return left.load(); }));
  });
}

TEST_P(fiber_test, destruction_stops_and_joins) {
  run([] {
    bool ended = false;
    {
      fiber f = spawn([&] {
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {
          ended = true;
          throw;
        }
      });
      settle();
    }
    EXPECT_TRUE(ended);
  });
}

TEST_P(fiber_test, destruction_drops_an_exception) {
  run([] {
    fiber f = spawn([] { throw std::runtime_error("dropped"); });
    settle();
  });
}

TEST_P(fiber_test, destruction_waits_although_the_destroyer_is_cancelled) {
  run([] {
    std::atomic<bool> inner_ended{false};
    bool seen = false;
    fiber outer = spawn([&] {
      try {
        fiber inner = spawn([&] {
          struct at_end {
            std::atomic<bool>& flag;
            ~at_end() { flag = true; }
          } mark{inner_ended};
          scope shielded{.shield = true};
          this_fiber::sleep_for(a_moment);
        });
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        seen = inner_ended;
        throw;
      }
    });
    settle();
    outer.request_stop();
    outer.join();
    EXPECT_TRUE(seen);
  });
}

TEST_P(fiber_test, assignment_ends_the_fiber_it_replaces) {
  run([] {
    std::atomic<bool> first_ended{false};
    fiber f = spawn([&] {
      try {
        this_fiber::sleep_for(24h);
      } catch (const cancelled&) {
        first_ended = true;
      }
    });
    settle();
    f = spawn([] {});
    EXPECT_TRUE(first_ended);
    f.join();
    fiber moved = std::move(f);
    EXPECT_FALSE(f.joinable());
  });
}

TEST_P(fiber_test, a_detached_fiber_goes_on_alone) {
  run([] {
    std::atomic<bool> done{false};
    {
      fiber f = spawn([&] {
        this_fiber::sleep_for(a_moment);
        EXPECT_FALSE(this_fiber::stop_requested());
        done = true;
      });
      f.detach();
      EXPECT_FALSE(f.joinable());
    }
    EXPECT_TRUE(eventually([&] { return done.load(); }));
  });
}

TEST_P(fiber_test, stop_is_level_triggered) {
  run([] {
    int refused = 0;
    bool requested = false;
    fiber f = spawn([&] {
      for (int i = 0; i < 3; ++i) {
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {
          ++refused;
        }
      }
      requested = this_fiber::stop_requested();
    });
    settle();
    f.request_stop();
    f.request_stop();
    f.join();
    EXPECT_EQ(refused, 3);
    EXPECT_TRUE(requested);
  });
}

TEST_P(fiber_test, stop_before_the_first_run_still_starts_the_function) {
  run([] {
    bool started = false, refused = false;
    fiber f = spawn([&] {
      started = true;
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        refused = true;
      }
    });
    f.request_stop();
    f.join();
    EXPECT_TRUE(started);
    (void)refused;  // Whether the stop came before the yield depends on the other workers.
  });
}

TEST_P(fiber_test, join_from_a_plain_thread) {
  run([] {
    fiber ok = spawn([] { this_fiber::sleep_for(a_moment); });
    fiber bad = spawn([] { throw std::runtime_error("for the thread"); });
    std::atomic<bool> joined{false};
    std::thread t([&] {
      ok.join();
      EXPECT_THROW(bad.join(), std::runtime_error);
      joined = true;
    });
    EXPECT_TRUE(eventually([&] { return joined.load(); }));
    t.join();
  });
}

TEST_P(fiber_test, numbers_are_unique_and_the_same_inside_and_outside) {
  run([] {
    std::set<std::uint64_t> seen{this_fiber::get_id()};
    std::vector<fiber> all;
    std::vector<std::uint64_t> inside(200);
    for (std::size_t i = 0; i < inside.size(); ++i)
      all.push_back(spawn([&inside, i] { inside[i] = this_fiber::get_id(); }));
    for (std::size_t i = 0; i < inside.size(); ++i) {
      const auto outside = all[i].get_id();
      all[i].join();
      EXPECT_EQ(outside, inside[i]);
      EXPECT_TRUE(seen.insert(outside).second) << "fiber " << outside << " twice";
    }
    EXPECT_FALSE(seen.contains(0));
  });
}

TEST_P(fiber_test, a_plain_thread_has_no_number_and_can_sleep_and_yield) {
  std::thread t([] {
    EXPECT_EQ(this_fiber::get_id(), 0u);
    EXPECT_FALSE(this_fiber::in_fiber());
    EXPECT_FALSE(this_fiber::stop_requested());
    this_fiber::set_name("nobody");
    this_fiber::yield();
    const auto start = clock::now();
    this_fiber::sleep_for(a_moment);
    this_fiber::sleep_for(0ms);
    EXPECT_GE(clock::now() - start, a_moment);
  });
  t.join();
}

TEST_P(fiber_test, move_only_large_and_over_aligned_closures) {
  run([] {
    auto owned = std::make_unique<int>(7);
    fiber a = spawn([owned = std::move(owned)] { EXPECT_EQ(*owned, 7); });
    std::array<unsigned char, 5000> big;
    big.fill(0xa5);
    fiber b = spawn([big] {
      for (auto byte : big) ASSERT_EQ(byte, 0xa5);
    });
    struct alignas(256) wide {
      char c = 'x';
    };
    fiber c = spawn([w = wide()] {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&w) % 256, 0u);
      EXPECT_EQ(w.c, 'x');
    });
    a.join();
    b.join();
    c.join();
  });
}

struct throws_when_copied {
  throws_when_copied() = default;
  throws_when_copied(const throws_when_copied&) { throw std::runtime_error("no copy"); }
  void operator()() const { ADD_FAILURE() << "must not run"; }
};

TEST_P(fiber_test, a_closure_whose_copy_throws_starts_nothing) {
  with_runtime({.workers = GetParam()}, [](runtime& rt) {
    const throws_when_copied t;
    const auto before = rt.stats().fibers;
    for (int i = 0; i < 100; ++i) {
      EXPECT_THROW(go(t), std::runtime_error);
      EXPECT_THROW((void)spawn(t), std::runtime_error);
      scope s;
      EXPECT_THROW(s.go(t), std::runtime_error);
      s.join();
    }
    EXPECT_EQ(rt.stats().fibers, before);
  });
}

TEST_P(fiber_test, the_closure_is_destroyed_on_the_fiber_also_when_it_throws) {
  run([] {
    struct probe {
      explicit probe(std::uint64_t& where) : where(&where) {}
      probe(probe&& other) noexcept : where(std::exchange(other.where, nullptr)) {}
      ~probe() {
        if (where) *where = this_fiber::get_id();
      }
      std::uint64_t* where;
    };
    std::uint64_t normal = 0, thrown = 0;
    fiber a = spawn([p = probe(normal)] {});
    fiber b = spawn([p = probe(thrown)] { throw 1; });
    const auto a_id = a.get_id(), b_id = b.get_id();
    a.join();
    EXPECT_THROW(b.join(), int);
    EXPECT_EQ(normal, a_id);
    EXPECT_EQ(thrown, b_id);
  });
}

TEST(fiber, spawning_outside_a_runtime_is_a_logic_error) {
  EXPECT_THROW(go([] {}), std::logic_error);
  EXPECT_THROW((void)spawn([] {}), std::logic_error);
  EXPECT_THROW(go({.name = "x"}, [] {}), std::logic_error);
}

TEST(fiber, yield_lets_the_others_run_in_turn) {
  with_workers(1, [] {
    std::string order;
    fiber a = spawn([&] {
      for (int i = 0; i < 3; ++i) {
        order += 'a';
        this_fiber::yield();
      }
    });
    fiber b = spawn([&] {
      for (int i = 0; i < 3; ++i) {
        order += 'b';
        this_fiber::yield();
      }
    });
    a.join();
    b.join();
    EXPECT_EQ(order, "bababa");  // The newest starts first.
  });
}

// What has started is finished before more is started: otherwise all leaves of a tree would be alive at once.
TEST_P(fiber_test, a_tree_of_fibers_is_walked_depth_first) {
  run([] {
    std::atomic<int> alive{0}, most{0}, leaves{0};
    const std::function<void(int)> grow = [&](int depth) {
      const int now = ++alive;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      if (depth == 0) {
        ++leaves;
      } else {
        wait_group children(10);
        for (int i = 0; i < 10; ++i)
          go([&] {
            grow(depth - 1);
            children.done();
          });
        children.wait();
      }
      --alive;
    };
    grow(4);
    EXPECT_EQ(leaves, 10'000);
    EXPECT_LT(most, 2'000);
  });
}

// Neither fibers that have started nor newer ones keep a fiber from starting for ever.
TEST(fiber, every_fiber_starts_though_others_go_on_and_newer_ones_keep_coming) {
  with_workers(1, [] {
    std::atomic<bool> started{false};
    fiber patient = spawn([&] { started = true; });
    fiber yielding = spawn([&] {
      while (!started) this_fiber::yield();
    });
    std::function<void()> chain = [&] {
      if (!started) go(chain);
    };
    go(chain);
    go(chain);
    patient.join();
    yielding.join();
  });
}

// Otherwise fibers that are served often, by timers and poller, go on overtaking those in the global queue.
TEST(fiber, those_woken_together_queue_behind_those_that_wait_already) {
  std::vector<char> order;
  with_runtime({.workers = 1}, [&](runtime& rt) {
    wait_group gate(1), all(4), started(3);
    for (int i = 0; i < 3; ++i)
      go([&] {
        started.done();
        gate.wait();
        order.push_back('b');
        all.done();
      });
    started.wait();
    std::thread([&] { rt.go([&] { order.push_back('a'), all.done(); }); }).join();
    gate.done();
    all.wait();
  });
  EXPECT_EQ(order, (std::vector{'a', 'b', 'b', 'b'}));
}

TEST(fiber, a_yielding_fiber_does_not_starve_timers) {
  with_workers(1, [] {
    std::atomic<bool> slept{false};
    fiber sleeper = spawn([&] {
      this_fiber::sleep_for(1ms);
      slept = true;
    });
    while (!slept) this_fiber::yield();
    sleeper.join();
  });
}

TEST_P(fiber_test, sleeps_last_at_least_as_long_as_asked_and_end_in_order) {
  run([] {
    std::vector<int> order;
    mutex m;
    std::vector<fiber> all;
    const auto start = clock::now();
    for (int i : {3, 1, 2}) {
      all.push_back(spawn([&, i] {
        const auto until = start + i * 40ms;
        this_fiber::sleep_until(until);
        EXPECT_GE(clock::now(), until);
        std::lock_guard hold(m);
        order.push_back(i);
      }));
    }
    for (auto& f : all) f.join();
    EXPECT_EQ(order.size(), 3u);
    const auto start2 = clock::now();
    this_fiber::sleep_for(3ms);
    EXPECT_GE(clock::now() - start2, 3ms);
    this_fiber::sleep_for(-5s);
    this_fiber::sleep_until(clock::time_point::min());
    this_fiber::sleep_until(std::chrono::system_clock::now() + 1ms);
  });
}

TEST(fiber, one_worker_ends_sleeps_in_the_order_of_their_deadlines) {
  with_workers(1, [] {
    std::vector<int> order;
    std::vector<fiber> all;
    const auto start = clock::now();
    for (int i : {5, 1, 4, 2, 3})
      all.push_back(spawn([&, i] {
        this_fiber::sleep_until(start + i * 3ms);
        order.push_back(i);
      }));
    for (auto& f : all) f.join();
    EXPECT_EQ(order, (std::vector{1, 2, 3, 4, 5}));
  });
}

TEST_P(fiber_test, every_fiber_has_the_stack_it_asked_for) {
  run([] {
    for (std::size_t kib : {16u, 64u, 1024u, 8192u}) {
      fiber f = spawn({.stack_size = kib * 1024}, [kib] {
        // Half of it, page by page.
        const auto size = kib * 1024 / 2;
        auto* bytes = static_cast<volatile char*>(__builtin_alloca(size));
        for (std::size_t i = size; i > 0; i -= std::min<std::size_t>(i, 4096)) bytes[i - 1] = 1;
      });
      f.join();
    }
  });
}

TEST_P(fiber_test, an_impossible_stack_size_is_an_exception) {
  run([] {
    EXPECT_THROW((void)spawn({.stack_size = std::size_t{1} << 40}, [] {}), std::system_error);
    EXPECT_THROW((void)spawn({.stack_size = SIZE_MAX}, [] {}), std::system_error);
  });
}

TEST(fiber, more_fibers_than_fibers_max_is_an_exception_and_nothing_is_lost) {
  with_runtime({.workers = 1, .fibers_max = 512}, [](runtime&) {
    std::vector<fiber> all;
    try {
      for (int i = 0; i < 5000; ++i) all.push_back(spawn([] { this_fiber::sleep_for(24h); }));
      ADD_FAILURE() << "no limit";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::resource_unavailable_try_again);
    }
    EXPECT_GT(all.size(), 100u);
    EXPECT_LE(all.size(), 512u);
    all.clear();
    spawn([] {}).join();
  });
}

}  // namespace
}  // namespace thrum
