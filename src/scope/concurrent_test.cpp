// What concurrent.hpp promises.
#include <thrum/concurrent.hpp>

#include <atomic>
#include <list>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class concurrent_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, concurrent_test, worker_counts, count_name);

std::vector<int> numbers(int n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

TEST_P(concurrent_test, every_item_is_visited_once_and_no_more_at_a_time_than_allowed) {
  run([] {
    std::vector<int> visits(200, 0);
    std::atomic<int> inside{0}, most{0};
    for_each_concurrent(visits, 7, [&](int& v) {
      const int now = ++inside;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      ++v;
      this_fiber::sleep_for(10us);
      --inside;
    });
    EXPECT_EQ(visits, std::vector<int>(200, 1));
    EXPECT_LE(most, 7);
    EXPECT_GT(most, 1);
  });
}

TEST_P(concurrent_test, takes_any_range) {
  run([] {
    std::atomic<int> sum{0};
    const auto add = [&](int v) { sum += v; };
    for_each_concurrent(std::list<int>{1, 2, 3}, 2, add);
    EXPECT_EQ(sum, 6);
    std::istringstream text("4 5 6");
    for_each_concurrent(std::ranges::istream_view<int>(text), 2, add);
    EXPECT_EQ(sum, 21);
    for_each_concurrent(std::views::iota(0, 10), 100, add);
    EXPECT_EQ(sum, 66);
    for_each_concurrent(std::vector<int>{}, 1, add);
    EXPECT_EQ(sum, 66);
    std::vector<std::unique_ptr<int>> owned;
    owned.push_back(std::make_unique<int>(4));
    for_each_concurrent(owned, 1, [&](std::unique_ptr<int>& p) { add(*std::exchange(p, nullptr)); });
    EXPECT_EQ(sum, 70);
    EXPECT_THROW(for_each_concurrent(owned, 0, [](auto&) {}), std::invalid_argument);
  });
}

TEST_P(concurrent_test, the_first_failure_stops_the_rest_and_is_thrown) {
  run([] {
    std::atomic<int> visited{0};
    EXPECT_THROW(for_each_concurrent(numbers(1000), 4,
                                     [&](int i) {
                                       ++visited;
                                       if (i == 10) throw std::out_of_range("ten");
                                       this_fiber::sleep_for(100us);
                                     }),
                 std::out_of_range);
    EXPECT_LT(visited, 1000);
  });
}

TEST_P(concurrent_test, cancellation_reaches_items_that_wait_and_ends_those_that_compute) {
  run([] {
    for (const bool waits : {true, false}) {
      std::atomic<int> visited{0};
      bool ended = false;
      fiber f = spawn([&] {
        for_each_concurrent(std::views::iota(0), 3, [&](int) {
          ++visited;
          if (waits) this_fiber::sleep_for(24h);
        });
        ended = true;
      });
      EXPECT_TRUE(eventually([&] { return visited >= 3; }));
      f.request_stop();
      f.join();
      EXPECT_FALSE(ended);
    }
  });
}

TEST_P(concurrent_test, mapped_results_come_in_the_order_of_the_items) {
  run([] {
    const auto text = map_concurrent(numbers(100), 8, [](int i) {
      this_fiber::sleep_for(std::chrono::microseconds(i * 37 % 50));
      return std::to_string(i);
    });
    ASSERT_EQ(text.size(), 100u);
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(text[i], std::to_string(i));
    const auto owned = map_concurrent(std::list<int>{1, 2}, 5, [](int i) { return std::make_unique<int>(i); });
    EXPECT_EQ(*owned[1], 2);
    EXPECT_TRUE(map_concurrent(std::vector<int>{}, 5, [](int i) { return i; }).empty());
    EXPECT_THROW(map_concurrent(numbers(9), 3, [](int i) { return i < 8 ? i : throw std::out_of_range("eight"); }),
                 std::out_of_range);
  });
}

TEST_P(concurrent_test, the_first_result_wins_and_the_others_have_ended) {
  run([] {
    bool cancelled_one = false;
    const auto winner = race(
        [&] {
          try {
            this_fiber::sleep_for(24h);
          } catch (const cancelled&) {
            cancelled_one = true;
            throw;
          }
          return std::string("slow");
        },
        [] {
          this_fiber::sleep_for(100us);
          return "fast";
        });
    EXPECT_EQ(winner, "fast");
    EXPECT_TRUE(cancelled_one);
    race([] { this_fiber::sleep_for(24h); }, [] {});
    EXPECT_EQ(*race([] { return std::make_unique<int>(7); }), 7);
  });
}

TEST_P(concurrent_test, a_race_fails_only_if_all_do) {
  run([] {
    EXPECT_EQ(race([]() -> int { throw std::out_of_range("at once"); },
                   [] {
                     this_fiber::sleep_for(1ms);
                     return 7;
                   }),
              7);
    EXPECT_THROW(race([]() -> int { throw std::out_of_range("at once"); },
                      []() -> int {
                        this_fiber::sleep_for(1ms);
                        throw std::length_error("later");
                      }),
                 std::logic_error);  // Of whichever failed first.
  });
}

TEST_P(concurrent_test, a_race_that_is_cancelled_has_no_winner) {
  run([] {
    std::atomic<int> ended{0};
    fiber f = spawn([&] {
      const auto runner = [&] {
        const struct ending {
          std::atomic<int>& n;
          ~ending() { ++n; }
        } e{ended};
        this_fiber::sleep_for(24h);
      };
      EXPECT_THROW(race(runner, runner), cancelled);
      EXPECT_EQ(ended, 2);
    });
    settle();
    f.request_stop();
    f.join();
    EXPECT_EQ(ended, 2);
  });
}

TEST_P(concurrent_test, join_all_gathers_the_results) {
  run([] {
    scope s;
    auto a = s.async([] { return 1; });
    auto b = s.async([] { return std::string("two"); });
    auto c = s.async([] {});
    auto [x, y, z] = join_all(a, b, c);
    static_assert(std::is_same_v<decltype(z), std::monostate>);
    EXPECT_EQ(x, 1);
    EXPECT_EQ(y, "two");
    s.join();
  });
}

TEST_P(concurrent_test, parallel_loops_visit_every_index_once) {
  run([] {
    for (const std::size_t grain : {0u, 1u, 7u, 5000u}) {
      std::vector<std::atomic<int>> visits(1000);
      parallel_for(
          0, 1000, [&](int i) { ++visits[static_cast<std::size_t>(i)]; }, grain);
      for (auto& v : visits) EXPECT_EQ(v, 1);
    }
    parallel_for(5, 5, [](int) { ADD_FAILURE(); });
    parallel_for(5, 4, [](int) { ADD_FAILURE(); });
    std::atomic<long> sum{0};
    parallel_for(-3L, 4, [&](long i) { sum += i; });
    EXPECT_EQ(sum, 0);
    EXPECT_THROW(parallel_for(0, 100, [](int i) { i == 50 ? throw std::out_of_range("fifty") : void(); }),
                 std::out_of_range);
  });
}

TEST_P(concurrent_test, parallel_reductions_use_every_index_once) {
  run([] {
    for (const std::size_t grain : {0u, 3u, 100000u}) {
      EXPECT_EQ(parallel_reduce(
                    1, 10001, 0L, std::plus<>(), [](int i) { return long{i}; }, grain),
                50005000L);
    }
    EXPECT_EQ(parallel_reduce(0, 0, 42, std::plus<>(), [](int i) { return i; }), 42);
    const auto longest = parallel_reduce(
        0, 100, std::string(), [](std::string a, std::string b) { return a.size() >= b.size() ? a : b; },
        [](int i) { return std::string(static_cast<std::size_t>(i), 'x'); });
    EXPECT_EQ(longest.size(), 99u);
  });
}

// Started from a fiber whose scope is cancelled already.
TEST_P(concurrent_test, nothing_is_done_in_a_cancelled_scope) {
  run([] {
    scope s;
    s.cancel();
    int done = 0;
    EXPECT_THROW(for_each_concurrent(numbers(10), 2, [&](int) { ++done; }), cancelled);
    EXPECT_THROW(parallel_for(0, 10, [&](int) { ++done; }), cancelled);
    EXPECT_THROW(parallel_reduce(0, 10, 0, std::plus<>(), [&](int) { return ++done; }), cancelled);
    EXPECT_EQ(done, 0);
    s.join();
  });
}

TEST(concurrent, needs_a_fiber) {
  EXPECT_THROW(for_each_concurrent(numbers(3), 2, [](int) {}), std::logic_error);
  EXPECT_THROW(race([] { return 1; }), std::logic_error);
}

}  // namespace
}  // namespace thrum
