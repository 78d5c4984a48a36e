// What future.hpp promises of then().
#include <thrum/future.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <thrum/promise.hpp>
#include <thrum/scope.hpp>

#include "support.hpp"
#include "values.hpp"

namespace thrum {
namespace {

using namespace test;

class then_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, then_test, worker_counts, count_name);

TEST_P(then_test, calls_with_the_value_in_a_fiber_of_its_own) {
  run([] {
    promise<int> p;
    const auto me = this_fiber::get_id();
    auto f = p.get_future();
    auto g = f.then([me](int v) {
      EXPECT_TRUE(this_fiber::in_fiber());
      EXPECT_NE(this_fiber::get_id(), me);
      this_fiber::yield();  // It may wait.
      return std::to_string(v);
    });
    EXPECT_FALSE(f.valid());
    EXPECT_FALSE(g.ready());
    p.set_value(42);
    EXPECT_EQ(g.get(), "42");
  });
}

TEST_P(then_test, on_what_is_ready_already) {
  run([] {
    promise<int> p;
    p.set_value(1);
    EXPECT_EQ(p.get_future().then([](int v) { return v + 1; }).get(), 2);
  });
}

TEST_P(then_test, chains_through_void_references_and_move_only_types) {
  run([] {
    promise<void> p;
    int x = 1;
    auto f = p.get_future()
                 .then([&]() -> int& { return x; })
                 .then([](int& r) { return std::make_unique<int>(++r); })
                 .then([](std::unique_ptr<int> v) { return *v; })
                 .then([](int v) { EXPECT_EQ(v, 2); });
    p.set_value();
    f.get();
    EXPECT_EQ(x, 2);
  });
}

TEST_P(then_test, an_exception_passes_on_without_a_call) {
  run([] {
    promise<int> p, q;
    std::atomic<int> called{0};
    auto f = p.get_future().then([&](int) { ++called; }).then([&] { return ++called; });
    p.set_exception(std::make_exception_ptr(std::runtime_error("first")));
    EXPECT_THROW(f.get(), std::runtime_error);
    auto g = q.get_future().then([](int) -> int { throw std::runtime_error("second"); });
    q.set_value(1);
    EXPECT_THROW(g.get(), std::runtime_error);
    auto h = promise<int>().get_future().then([&](int) { ++called; });
    EXPECT_THROW(h.get(), broken_promise);
    EXPECT_EQ(called, 0);
  });
}

TEST_P(then_test, a_plain_thread_may_complete_what_it_follows) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      promise<int> p;
      auto f = p.get_future().then([](int v) {
        EXPECT_TRUE(this_fiber::in_fiber());
        return v + 1;
      });
      std::thread t([&] { p.set_value(i); });
      EXPECT_EQ(f.get(), i + 1);
      t.join();
    }
  });
}

TEST_P(then_test, a_dropped_result_does_not_keep_it_from_being_called) {
  run([] {
    promise<counted> p;
    std::atomic<int> called{0};
    (void)p.get_future().then([&](counted c) {
      called = c.value;
      return c;
    });
    p.set_value(counted(5));
    EXPECT_TRUE(eventually([&] { return called == 5; }));
  });
  EXPECT_EQ(counted::alive, 0);
}

TEST_P(then_test, holds_no_stack_while_it_waits) {
  with_runtime({.workers = GetParam()}, [](runtime& rt) {
    std::vector<promise<int>> promises(200);
    std::vector<future<int>> futures;
    const auto before = rt.stats();
    for (auto& p : promises) futures.push_back(p.get_future().then([](int v) { return v; }));
    const auto after = rt.stats();
    EXPECT_EQ(after.fibers, before.fibers + promises.size());
    EXPECT_LE(after.warm_stacks, before.warm_stacks + 70);  // What a processor may have taken for its cache.
    for (std::size_t i = 0; i < promises.size(); ++i) promises[i].set_value(static_cast<int>(i));
    for (std::size_t i = 0; i < promises.size(); ++i) EXPECT_EQ(futures[i].get(), static_cast<int>(i));
  });
}

TEST_P(then_test, of_a_shared_future_any_number) {
  run([] {
    promise<std::string> p;
    const auto f = p.get_future().share();
    auto a = f.then([](const std::string& v) { return &v; });
    auto b = f.then([](const std::string& v) { return v.size(); });
    p.set_value("both");
    EXPECT_EQ(a.get(), &f.get());
    EXPECT_EQ(b.get(), 4u);
    EXPECT_TRUE(f.valid());
  });
}

TEST_P(then_test, a_future_that_cannot_be_followed_is_as_it_was) {
  run([] {
    EXPECT_THROW((void)future<int>().then([](int) {}), no_state);
    promise<int> p;
    auto f = p.get_future();
    std::thread t([&] { EXPECT_THROW((void)f.then([](int) {}), std::logic_error); });
    t.join();
    EXPECT_TRUE(f.valid());
    const hard_to_copy h;
    EXPECT_THROW((void)f.then([h](int) {}), std::runtime_error);
    EXPECT_TRUE(f.valid());
    p.set_value(1);
    EXPECT_EQ(f.get(), 1);
  });
}

TEST_P(then_test, the_runtime_waits_for_it_and_cancels_it) {
  promise<int> p;
  future<int> f;
  std::thread completes;
  {
    runtime rt({.workers = GetParam()});
    rt.run([&] {
      f = p.get_future().then([](int v) {
        this_fiber::sleep_for(24h);
        return v;
      });
      completes = std::thread([&] {
        std::this_thread::sleep_for(a_moment);
        p.set_value(1);
      });
    });
  }
  EXPECT_TRUE(f.ready());
  EXPECT_THROW(f.get(), broken_promise);
  completes.join();
}

TEST_P(then_test, long_chains_and_many_at_a_time) {
  run([] {
    for (int round = 0; round < 5; ++round) {
      std::vector<promise<int>> promises(20);
      std::vector<future<int>> ends;
      for (auto& p : promises) {
        auto f = p.get_future();
        for (int i = 0; i < 30; ++i) f = f.then([](int v) { return v + 1; });
        ends.push_back(std::move(f));
      }
      scope s;
      for (auto& p : promises) s.go([&p] { p.set_value(0); });
      for (auto& f : ends) EXPECT_EQ(f.get(), 30);
      s.join();
    }
  });
}

}  // namespace
}  // namespace thrum
