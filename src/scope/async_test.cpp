// What async.hpp promises.
#include <thrum/async.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>

#include <thrum/scope.hpp>

#include "support.hpp"
#include "values.hpp"

namespace thrum {
namespace {

using namespace test;

class async_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, async_test, worker_counts, count_name);

TEST_P(async_test, returns_the_future_of_what_a_fiber_returns) {
  run([] {
    auto f = async([](int x, std::unique_ptr<int> y) { return x + *y; }, 40, std::make_unique<int>(2));
    EXPECT_EQ(f.get(), 42);
    std::atomic<bool> in_fiber{false};
    future<void> g = async([&] { in_fiber = this_fiber::in_fiber(); });
    g.get();
    EXPECT_TRUE(in_fiber);
    int x = 1;
    future<int&> h = async([&]() -> int& { return x; });
    EXPECT_EQ(&h.get(), &x);
  });
}

TEST_P(async_test, what_the_fiber_throws_arrives_in_get) {
  run([] {
    auto f = async([]() -> int { throw std::runtime_error("from the fiber"); });
    EXPECT_THROW(f.get(), std::runtime_error);
    auto g = async([]() -> int { throw cancelled(); });
    EXPECT_THROW(g.get(), broken_promise);
  });
}

TEST_P(async_test, a_dropped_future_does_not_wait_and_the_fiber_goes_on) {
  run([] {
    std::atomic<bool> ended{false};
    event proceed;
    {
      auto f = async([&] {
        proceed.wait();
        ended = true;
        return counted(1);
      });
    }
    EXPECT_FALSE(ended);
    proceed.set();
    EXPECT_TRUE(eventually([&] { return ended.load(); }));
    EXPECT_TRUE(eventually([] { return counted::alive == 0; }));
  });
}

TEST_P(async_test, its_fiber_is_in_no_scope) {
  run([] {
    event proceed;
    future<int> f;
    {
      scope s;
      s.go([&] {
        f = async([&] {
          proceed.wait();
          return 1;
        });
      });
      s.join();
      s.cancel();
    }
    proceed.set();
    EXPECT_EQ(f.get(), 1);
  });
}

TEST_P(async_test, the_end_of_the_runtime_cancels_it) {
  future<int> f;
  {
    runtime rt({.workers = GetParam()});
    rt.run([&] {
      f = async([] {
        this_fiber::sleep_for(24h);
        return 1;
      });
    });
  }
  EXPECT_THROW(f.get(), broken_promise);
}

TEST(async_without_a_runtime, is_refused) {
  EXPECT_THROW((void)async([] {}), std::logic_error);
}

}  // namespace
}  // namespace thrum
