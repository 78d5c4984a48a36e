// What when.hpp promises.
#include <thrum/when.hpp>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <thrum/promise.hpp>
#include <thrum/scope.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class when_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, when_test, worker_counts, count_name);

future<int> broken() {
  promise<int> p;
  return p.get_future();
}

TEST_P(when_test, all_are_ready_when_all_is) {
  run([] {
    promise<int> a;
    promise<void> b;
    promise<std::string> c;
    auto all = when_all(a.get_future(), b.get_future(), c.get_future().share());
    a.set_value(1);
    c.set_value("three");
    EXPECT_FALSE(all.wait_for(1ms));
    b.set_value();
    auto [x, y, z] = all.get();
    static_assert(std::is_same_v<decltype(z), shared_future<std::string>>);
    EXPECT_TRUE(x.ready() && y.ready() && z.ready());
    EXPECT_EQ(x.get(), 1);
    EXPECT_EQ(z.get(), "three");
  });
}

TEST_P(when_test, all_of_a_range_come_back_in_order) {
  run([] {
    std::vector<promise<int>> promises(20);
    std::vector<future<int>> futures;
    for (auto& p : promises) futures.push_back(p.get_future());
    auto all = when_all(std::move(futures));
    for (std::size_t i = promises.size(); i-- > 0;) {
      EXPECT_FALSE(all.ready());
      promises[i].set_value(static_cast<int>(i));
    }
    int expected = 0;
    for (auto& f : all.get()) EXPECT_EQ(f.get(), expected++);
    EXPECT_EQ(expected, 20);
  });
}

TEST_P(when_test, ranges_may_be_lists_views_and_kept_shared_futures) {
  run([] {
    promise<int> p;
    std::list<shared_future<int>> kept(3, p.get_future().share());
    auto all = when_all(kept);
    auto any = when_any(kept | std::views::reverse);
    std::list<future<int>> taken;
    taken.push_back(kept.front().then([](int v) { return v + 1; }));
    auto both = when_all(std::move(taken));
    p.set_value(4);
    EXPECT_EQ(all.get().size(), 3u);
    EXPECT_TRUE(kept.back().valid());
    EXPECT_EQ(any.get().futures.size(), 3u);
    EXPECT_EQ(both.get().front().get(), 5);
  });
}

TEST_P(when_test, what_failed_counts_as_ready) {
  run([] {
    promise<int> a;
    auto all = when_all(a.get_future(), broken());
    a.set_exception(std::make_exception_ptr(std::runtime_error("a")));
    auto [x, y] = all.get();
    EXPECT_THROW(x.get(), std::runtime_error);
    EXPECT_THROW(y.get(), broken_promise);
  });
}

TEST_P(when_test, any_names_the_first_that_was_ready) {
  run([] {
    promise<int> a;
    promise<std::string> b;
    auto any = when_any(a.get_future(), b.get_future());
    EXPECT_FALSE(any.ready());
    b.set_value("b");
    auto first = any.get();
    EXPECT_EQ(first.index, 1u);
    auto& [x, y] = first.futures;
    EXPECT_FALSE(x.ready());
    EXPECT_EQ(y.get(), "b");
    a.set_value(3);
    EXPECT_EQ(x.get(), 3);
  });
}

TEST_P(when_test, any_of_a_range_again_and_again_until_none_is_left) {
  run([] {
    std::vector<promise<int>> promises(10);
    std::vector<future<int>> left;
    for (auto& p : promises) left.push_back(p.get_future());
    scope s;
    for (std::size_t i = 0; i < promises.size(); ++i)
      s.go([&, i] { promises[i * 7 % 10].set_value(static_cast<int>(i)); });
    int sum = 0;
    while (!left.empty()) {
      auto first = when_any(std::move(left)).get();
      sum += first.futures[first.index].get();
      left = std::move(first.futures);
      std::erase_if(left, [](auto& f) { return !f.valid(); });
    }
    EXPECT_EQ(sum, 45);
    s.join();
  });
}

TEST_P(when_test, without_futures_they_are_ready_at_once) {
  run([] {
    EXPECT_EQ(when_all().get(), std::tuple<>());
    EXPECT_EQ(when_any().get().index, SIZE_MAX);
    EXPECT_TRUE(when_all(std::vector<future<int>>()).get().empty());
    auto none = when_any(std::vector<future<int>>()).get();
    EXPECT_EQ(none.index, SIZE_MAX);
    EXPECT_TRUE(none.futures.empty());
  });
}

TEST_P(when_test, ready_ones_need_no_wait_and_the_first_argument_wins) {
  run([] {
    promise<int> a, b;
    a.set_value(1);
    b.set_value(2);
    auto fa = a.get_future().share(), fb = b.get_future().share();
    EXPECT_TRUE(when_all(fa, fb).ready());
    EXPECT_EQ(when_any(fa, fb).get().index, 0u);
    EXPECT_EQ(when_any(broken(), fb).get().index, 0u);  // A broken one is ready.
    promise<int> pending;
    EXPECT_EQ(when_any(pending.get_future().share(), fb).get().index, 1u);
  });
}

TEST_P(when_test, an_empty_future_is_refused_and_none_taken) {
  run([] {
    promise<int> p;
    auto f = p.get_future().share();
    EXPECT_THROW((void)when_all(f, shared_future<int>()), no_state);
    EXPECT_THROW((void)when_any(f, future<int>()), no_state);
    EXPECT_TRUE(f.valid());
    p.set_value(1);
  });
}

TEST_P(when_test, they_combine_with_then_and_with_each_other) {
  run([] {
    promise<int> a, b, c;
    auto sum = when_all(a.get_future(), b.get_future()).then([](auto both) {
      return std::get<0>(both).get() + std::get<1>(both).get();
    });
    auto any = when_any(std::move(sum), c.get_future());
    std::thread t([&] {
      a.set_value(1);
      b.set_value(2);
    });
    auto first = any.get();
    t.join();
    EXPECT_EQ(first.index, 0u);
    EXPECT_EQ(std::get<0>(first.futures).get(), 3);
  });
}

TEST_P(when_test, any_of_what_stays_pending_again_and_again) {
  run([] {
    promise<int> slow;
    const auto pending = slow.get_future().share();
    for (int i = 0; i < 100; ++i) {
      promise<int> p;
      auto any = when_any(p.get_future(), pending);
      p.set_value(i);
      auto first = any.get();
      EXPECT_EQ(first.index, 0u);
      EXPECT_EQ(std::get<0>(first.futures).get(), i);
    }
    auto last = when_any(broken().share(), pending);
    slow.set_value(1);
    EXPECT_EQ(last.get().index, 0u);
  });
}

// A combination of one result out of all that tells when it is gone.
class probe final : detail::combination {
 public:
  static void start(std::vector<detail::future_core>& cores, std::size_t& delivered, bool& gone) {
    auto* p = new probe(cores.size(), delivered, gone);
    for (auto& c : cores) p->watch(c);
    p->watched_all();
  }

 private:
  probe(std::size_t count, std::size_t& delivered, bool& gone)
      : combination(count, 1), delivered_(delivered), gone_(gone) {}
  ~probe() override { gone_ = true; }
  void deliver(std::size_t last) noexcept override { delivered_ = last; }

  std::size_t& delivered_;
  bool& gone_;
};

// Otherwise they would pile up at a future that stays pending.
TEST(combination, the_losers_keep_no_trace) {
  for (std::size_t winner = 0; winner < 3; ++winner) {
    std::vector<detail::future_core> cores(3);
    std::size_t delivered = SIZE_MAX;
    bool gone = false;
    probe::start(cores, delivered, gone);
    EXPECT_FALSE(gone);
    cores[winner].complete(nullptr);
    EXPECT_EQ(delivered, winner);
    EXPECT_TRUE(gone);
    for (auto& c : cores)
      if (&c != &cores[winner]) c.complete(nullptr);
    EXPECT_EQ(delivered, winner);
    probe::start(cores, delivered, gone = false);
    EXPECT_TRUE(gone);
    EXPECT_EQ(delivered, 0u);
  }
}

TEST_P(when_test, a_dropped_combination_leaks_nothing) {
  run([] {
    auto watched = std::make_shared<int>(1);
    {
      promise<std::shared_ptr<int>> a, b;
      (void)when_all(a.get_future(), b.get_future());
      a.set_value(watched);
      EXPECT_EQ(watched.use_count(), 2);
    }
    EXPECT_EQ(watched.use_count(), 1);
  });
}

TEST(when_without_a_runtime, works_on_plain_threads) {
  promise<int> a, b;
  auto all = when_all(a.get_future(), b.get_future());
  std::thread t([&] { a.set_value(1); });
  b.set_value(2);
  auto [x, y] = all.get();
  EXPECT_EQ(x.get() + y.get(), 3);
  t.join();
}

TEST_P(when_test, nothing_is_lost_when_many_complete_at_once) {
  run([] {
    for (int round = 0; round < 60; ++round) {
      constexpr std::size_t count = 6;
      std::vector<promise<int>> promises(count);
      std::vector<shared_future<int>> futures;
      for (auto& p : promises) futures.push_back(p.get_future().share());
      scope s;
      for (auto& p : promises) s.go([&p] { p.set_value(1); });
      auto all = when_all(futures);
      auto any = when_any(futures);
      auto first = any.get();
      ASSERT_LT(first.index, count);
      EXPECT_EQ(first.futures[first.index].get(), 1);
      for (auto& f : all.get()) EXPECT_TRUE(f.ready());
      s.join();
    }
  });
}

}  // namespace
}  // namespace thrum
