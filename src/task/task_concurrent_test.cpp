// What task_concurrent.hpp promises.
#include <thrum/task_concurrent.hpp>

#include <atomic>
#include <list>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class task_concurrent_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, task_concurrent_test, worker_counts, count_name);

std::vector<int> numbers(int n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

// How many are inside, and how many were at most.
struct gauge {
  std::atomic<int> now{0}, most{0};

  struct visit {
    gauge& g;
    explicit visit(gauge& of) : g(of) {
      const int n = ++g.now;
      for (int seen = g.most; seen < n && !g.most.compare_exchange_weak(seen, n);) {
      }
    }
    ~visit() { --g.now; }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
  };
};

task<int> sleep_long(gauge& g) {
  const gauge::visit inside(g);
  co_await async_sleep_for(24h);
  co_return 1;
}
task<int> give(int v) { co_return v; }
task<int> give_later(int v) {
  co_await async_sleep_for(100us);
  co_return v;
}
task<int> fail() {
  throw std::out_of_range("at once");
  co_return 0;
}
task<int> fail_later() {
  co_await async_sleep_for(1ms);
  throw std::length_error("later");
}

TEST_P(task_concurrent_test, every_item_is_visited_once_and_no_more_at_a_time_than_allowed) {
  run([] {
    std::vector<int> visits(200, 0);
    gauge g;
    const auto visit = [&](int& v) -> task<> {
      const gauge::visit inside(g);
      ++v;
      co_await async_sleep_for(10us);
    };
    spawn(async_for_each_concurrent(visits, 7, visit)).join();
    EXPECT_EQ(visits, std::vector<int>(200, 1));
    EXPECT_LE(g.most, 7);
    EXPECT_GT(g.most, 1);
    EXPECT_EQ(g.now, 0);
  });
}

TEST_P(task_concurrent_test, a_limit_bounds_the_tasks_not_only_the_calls) {
  with_runtime({.workers = GetParam()}, [](runtime& rt) {
    const auto before = rt.stats().fibers;
    std::atomic<std::size_t> most{0};
    const auto visit = [&](int) -> task<> {
      const auto now = rt.stats().fibers;
      for (auto seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      co_await async_yield();
    };
    spawn(async_for_each_concurrent(std::views::iota(0, 1000), 5, visit)).join();
    EXPECT_LE(most, before + 1 + 5);
  });
}

TEST_P(task_concurrent_test, takes_any_range) {
  run([] {
    std::atomic<int> sum{0};
    const auto add = [&](int v) -> task<> {
      co_await async_yield();
      sum += v;
    };
    const auto body = [&]() -> task<> {
      std::list<int> three{1, 2, 3};
      co_await async_for_each_concurrent(std::move(three), 2, add);
      EXPECT_EQ(sum, 6);
      std::istringstream text("4 5 6");
      co_await async_for_each_concurrent(std::ranges::istream_view<int>(text), 2, add);
      EXPECT_EQ(sum, 21);
      co_await async_for_each_concurrent(std::views::iota(0, 10), 100, add);
      EXPECT_EQ(sum, 66);
      co_await async_for_each_concurrent(std::vector<int>{}, 1, add);
      EXPECT_EQ(sum, 66);
      std::vector<std::unique_ptr<int>> owned;
      owned.push_back(std::make_unique<int>(4));
      const auto take = [&](std::unique_ptr<int>& p) -> task<> {
        const auto mine = std::exchange(p, nullptr);
        co_await add(*mine);
      };
      co_await async_for_each_concurrent(owned, 1, take);
      EXPECT_EQ(sum, 70);
      EXPECT_EQ(owned[0], nullptr);
      const std::vector<int> fixed{1, 2};
      auto twice = fixed | std::views::transform([](int v) { return std::to_string(2 * v); });
      const auto add_text = [&](const std::string& t) -> task<> { co_await add(std::stoi(t)); };
      co_await async_for_each_concurrent(twice, 2, add_text);
      EXPECT_EQ(sum, 76);
    };
    spawn(body()).join();
    EXPECT_THROW(spawn(async_for_each_concurrent(std::vector<int>{1}, 0, add)).join(), std::invalid_argument);
    EXPECT_EQ(sum, 76);
  });
}

TEST_P(task_concurrent_test, keeps_its_function_and_a_range_without_a_name) {
  run([] {
    auto held = std::make_shared<std::atomic<int>>(0);
    auto add = [held](int v) -> task<> {
      co_await async_yield();
      *held += v;
    };
    auto all = async_for_each_concurrent(numbers(11), 3, add);
    EXPECT_EQ(held.use_count(), 3);
    spawn(std::move(all)).join();
    EXPECT_EQ(held.use_count(), 2);
    EXPECT_EQ(*held, 55);
  });
}

TEST_P(task_concurrent_test, the_first_failure_stops_the_rest_and_is_thrown) {
  run([] {
    std::atomic<int> visited{0};
    gauge g;
    const auto visit = [&](int i) -> task<> {
      ++visited;
      const gauge::visit inside(g);
      if (i == 10) throw std::out_of_range("ten");
      co_await async_sleep_for(100us);
    };
    EXPECT_THROW(spawn(async_for_each_concurrent(numbers(1000), 4, visit)).join(), std::out_of_range);
    EXPECT_LT(visited, 1000);
    EXPECT_EQ(g.now, 0);
  });
}

TEST_P(task_concurrent_test, cancellation_reaches_items_that_wait_and_ends_those_that_compute) {
  run([] {
    for (const bool waits : {true, false}) {
      std::atomic<int> visited{0};
      gauge g;
      bool went_on = false;
      const auto visit = [&](int) -> task<> {
        const gauge::visit inside(g);
        ++visited;
        if (waits) co_await async_sleep_for(24h);
      };
      const auto body = [&]() -> task<> {
        co_await async_for_each_concurrent(std::views::iota(0), 3, visit);
        went_on = true;
      };
      auto t = spawn(body());
      EXPECT_TRUE(eventually([&] { return visited >= 3; }));
      t.request_stop();
      t.join();
      EXPECT_FALSE(went_on);
      EXPECT_EQ(g.now, 0);
    }
  });
}

TEST_P(task_concurrent_test, mapped_results_come_in_the_order_of_the_items) {
  run([] {
    const auto to_text = [](int i) -> task<std::string> {
      co_await async_sleep_for(std::chrono::microseconds(i * 37 % 50));
      co_return std::to_string(i);
    };
    const auto text = spawn(async_map_concurrent(numbers(100), 8, to_text)).join();
    ASSERT_EQ(text.size(), 100u);
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(text[i], std::to_string(i));
    const auto own = [](int i) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(i); };
    const auto owned = spawn(async_map_concurrent(std::list<int>{1, 2}, 5, own)).join();
    EXPECT_EQ(*owned[1], 2);
    EXPECT_TRUE(spawn(async_map_concurrent(std::vector<int>{}, 5, own)).join().empty());
    const auto eight_fails = [](int i) -> task<int> {
      if (i == 8) throw std::out_of_range("eight");
      co_await async_yield();
      co_return i;
    };
    EXPECT_THROW(spawn(async_map_concurrent(numbers(9), 3, eight_fails)).join(), std::out_of_range);
    EXPECT_THROW(spawn(async_map_concurrent(numbers(9), 0, eight_fails)).join(), std::invalid_argument);
    const auto gives_up = [](int) -> task<int> {
      throw cancelled{};
      co_return 0;
    };
    EXPECT_THROW(spawn(async_map_concurrent(numbers(9), 3, gives_up)).join(), broken_promise);
  });
}

TEST_P(task_concurrent_test, mapping_keeps_its_limit_and_is_cancelled_from_outside) {
  run([] {
    gauge g;
    auto t = spawn(async_map_concurrent(numbers(50), 4, [&](int) { return sleep_long(g); }));
    EXPECT_TRUE(eventually([&] { return g.now == 4; }));
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    EXPECT_EQ(g.most, 4);
    EXPECT_EQ(g.now, 0);
  });
}

TEST_P(task_concurrent_test, the_first_result_wins_and_the_others_have_ended) {
  run([] {
    gauge g;
    EXPECT_EQ(spawn(async_race(sleep_long(g), give_later(7))).join(), 7);
    EXPECT_EQ(g.now, 0);
    const auto text = []() -> task<std::string> {
      co_await async_sleep_for(24h);
      co_return "slow";
    };
    const auto fast = []() -> task<const char*> {
      co_await async_yield();
      co_return "fast";
    };
    const auto body = [&]() -> task<std::string> { co_return co_await async_race(text, fast); };
    EXPECT_EQ(spawn(body()).join(), "fast");
    const auto nothing = []() -> task<> { co_return; };
    const auto for_ever = []() -> task<> { co_await async_sleep_for(24h); };
    spawn(async_race(for_ever(), nothing)).join();
    const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    EXPECT_EQ(*spawn(async_race(own)).join(), 7);
  });
}

TEST_P(task_concurrent_test, a_race_fails_only_if_all_do) {
  run([] {
    EXPECT_EQ(spawn(async_race(fail(), give_later(7))).join(), 7);
    EXPECT_EQ(spawn(async_race(task<int>(), give_later(7))).join(), 7);              // An empty task fails.
    EXPECT_THROW(spawn(async_race(fail(), fail_later())).join(), std::logic_error);  // Of whichever failed first.
    const auto gives_up = []() -> task<int> {
      throw cancelled{};
      co_return 0;
    };
    EXPECT_THROW(spawn(async_race(gives_up, gives_up)).join(), broken_promise);
  });
}

TEST_P(task_concurrent_test, a_race_that_is_cancelled_has_no_winner) {
  run([] {
    gauge g;
    auto t = spawn(async_race(sleep_long(g), sleep_long(g)));
    EXPECT_TRUE(eventually([&] { return g.now == 2; }));
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    EXPECT_EQ(g.now, 0);
  });
}

TEST_P(task_concurrent_test, join_all_gathers_the_results) {
  run([] {
    scope s;
    auto a = s.async([] {
      this_fiber::sleep_for(100us);
      return 1;
    });
    auto b = async_in(s, []() -> task<std::string> {
      co_await async_yield();
      co_return "two";
    }());
    auto c = s.async([] {});
    const auto body = [&]() -> task<> {
      auto [x, y, z] = co_await async_join_all(a, b, c);
      static_assert(std::is_same_v<decltype(z), std::monostate>);
      EXPECT_EQ(x, 1);
      EXPECT_EQ(y, "two");
    };
    spawn(body()).join();
    s.join();
    EXPECT_FALSE(a.valid());
    static_assert(std::is_same_v<decltype(async_join_all()), task<std::tuple<>>>);
    (void)spawn(async_join_all()).join();
  });
}

TEST_P(task_concurrent_test, join_all_throws_the_first_failure_and_touches_nothing_behind_it) {
  run([] {
    promise<int> p, q, never;
    auto a = p.get_future(), b = q.get_future(), c = never.get_future();
    p.set_value(1);
    q.set_exception(std::make_exception_ptr(std::out_of_range("second")));
    EXPECT_THROW(spawn(async_join_all(a, b, c)).join(), std::out_of_range);
    EXPECT_TRUE(c.valid());
    EXPECT_THROW(spawn(async_join_all(a)).join(), no_state);
  });
}

TEST_P(task_concurrent_test, a_cancelled_join_all_leaves_the_futures) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    auto t = spawn(async_join_all(f));
    settle();
    t.request_stop();
    EXPECT_THROW(t.join(), broken_promise);
    p.set_value(7);
    EXPECT_EQ(f.get(), 7);
  });
}

TEST_P(task_concurrent_test, parallel_loops_visit_every_index_once) {
  run([] {
    const auto body = [&]() -> task<> {
      for (const std::size_t grain : {0u, 1u, 7u, 5000u}) {
        std::vector<std::atomic<int>> visits(1000);
        const auto visit = [&](int i) {
          ++visits[static_cast<std::size_t>(i)];
          if (i % 100 == 0) this_fiber::yield();  // They are fibers.
        };
        co_await async_parallel_for(0, 1000, visit, grain);
        for (auto& v : visits) EXPECT_EQ(v, 1);
      }
      const auto none = [](int) { ADD_FAILURE(); };
      co_await async_parallel_for(5, 5, none);
      co_await async_parallel_for(5, 4, none);
      std::atomic<long> sum{0};
      const auto add = [&](long i) { sum += i; };
      co_await async_parallel_for(-3L, 4, add);
      EXPECT_EQ(sum, 0);
    };
    spawn(body()).join();
    const auto fifty_fails = [](int i) { i == 50 ? throw std::out_of_range("fifty") : void(); };
    EXPECT_THROW(spawn(async_parallel_for(0, 100, fifty_fails)).join(), std::out_of_range);
  });
}

TEST_P(task_concurrent_test, parallel_reductions_use_every_index_once) {
  run([] {
    const auto widen = [](int i) { return long{i}; };
    for (const std::size_t grain : {0u, 3u, 100000u})
      EXPECT_EQ(spawn(async_parallel_reduce(1, 10001, 0L, std::plus<>(), widen, grain)).join(), 50005000L);
    EXPECT_EQ(spawn(async_parallel_reduce(0, 0, 42, std::plus<>(), widen)).join(), 42);
    const auto longer = [](std::string a, std::string b) { return a.size() >= b.size() ? a : b; };
    const auto text = [](int i) { return std::string(static_cast<std::size_t>(i), 'x'); };
    EXPECT_EQ(spawn(async_parallel_reduce(0, 100, std::string(), longer, text)).join().size(), 99u);
  });
}

TEST_P(task_concurrent_test, cancellation_reaches_the_fibers_of_a_parallel_loop) {
  run([] {
    gauge g;
    auto t = spawn(async_parallel_for(0, 1000, [&](int) {
      const gauge::visit inside(g);
      this_fiber::sleep_for(24h);
    }));
    EXPECT_TRUE(eventually([&] { return g.now > 0; }));
    t.request_stop();
    t.join();
    EXPECT_EQ(g.now, 0);
    auto sum = spawn(async_parallel_reduce(0, 1000, 0, std::plus<>(), [&](int) {
      const gauge::visit inside(g);
      this_fiber::sleep_for(24h);
      return 1;
    }));
    EXPECT_TRUE(eventually([&] { return g.now > 0; }));
    sum.request_stop();
    EXPECT_THROW(sum.join(), broken_promise);
    EXPECT_EQ(g.now, 0);
  });
}

TEST_P(task_concurrent_test, nothing_is_done_in_a_cancelled_scope) {
  run([] {
    std::atomic<int> done{0};
    const auto visit = [&](int) -> task<int> { co_return ++done; };
    const auto count = [&](int) { return ++done; };
    promise<int> p;
    auto f = p.get_future();
    p.set_value(1);
    const auto body = [&]() -> task<int> {
      scope s;
      s.cancel();
      int thrown = 0;
      const auto attempt = [&](task<> t) -> task<> {
        try {
          co_await std::move(t);
        } catch (const cancelled&) {
          ++thrown;
        }
      };
      const auto dropping = [](auto t) -> task<> { static_cast<void>(co_await std::move(t)); };
      co_await attempt(async_for_each_concurrent(std::views::iota(0, 10), 2, visit));
      co_await attempt(dropping(async_map_concurrent(std::views::iota(0, 10), 2, visit)));
      co_await attempt(async_parallel_for(0, 10, count));
      co_await attempt(dropping(async_parallel_reduce(0, 10, 0, std::plus<>(), count)));
      co_await attempt(dropping(async_join_all(f)));
      co_await s.async_join();
      co_return thrown;
    };
    EXPECT_EQ(spawn(body()).join(), 5);
    EXPECT_EQ(done, 0);
    EXPECT_TRUE(f.valid());
  });
}

TEST_P(task_concurrent_test, does_nothing_before_it_is_awaited) {
  run([] {
    std::atomic<int> done{0};
    const auto visit = [&](int) -> task<int> { co_return ++done; };
    {
      const auto a = async_for_each_concurrent(std::views::iota(0, 10), 0, visit);
      const auto b = async_map_concurrent(std::views::iota(0, 10), 2, visit);
      const auto c = async_race([&] { return visit(1); }, give(2));
      const auto d = async_parallel_for(0, 10, [&](int) { ++done; });
    }
    EXPECT_EQ(done, 0);
  });
}

TEST_P(task_concurrent_test, storm_of_failures_and_cancellations) {
  run([] {
    gauge g;
    scope all;
    for (int i = 0; i < 8; ++i)
      go_in(all, [](gauge& gauged, int seed) -> task<> {
        for (int k = 0; k < 25; ++k) {
          const auto visit = [&](int v) -> task<> {
            const gauge::visit inside(gauged);
            co_await async_sleep_for(std::chrono::microseconds(v * 7 % 40));
            if ((v + seed * k) % 97 == 96) throw std::out_of_range("some");
          };
          const auto body = [&](scope&) -> task<> {
            co_await async_for_each_concurrent(std::views::iota(0, 60), 5, visit);
          };
          try {
            co_await async_with_scope(std::chrono::microseconds(k * 40), body);
          } catch (const timed_out&) {
          } catch (const std::out_of_range&) {
          }
        }
      }(g, i));
    all.join();
    EXPECT_EQ(g.now, 0);
    EXPECT_LE(g.most, 8 * 5);
  });
}

TEST(task_concurrent_outside, needs_a_runtime) { EXPECT_THROW((void)spawn(async_race(give(1))), std::logic_error); }

}  // namespace
}  // namespace thrum
