// What future.hpp and scope::async promise.
#include <thrum/future.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <thrum/scope.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class future_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, future_test, worker_counts, count_name);

TEST_P(future_test, get_returns_the_value_once) {
  run([] {
    scope s;
    auto a = s.async([](int x, const std::string& y) { return std::to_string(x) + y; }, 4, "2");
    EXPECT_TRUE(a.valid());
    EXPECT_EQ(a.get(), "42");
    EXPECT_FALSE(a.valid());
    EXPECT_THROW(a.get(), std::logic_error);
    EXPECT_THROW(a.wait(), std::logic_error);
    EXPECT_THROW((void)a.ready(), std::logic_error);
    s.join();
  });
}

TEST_P(future_test, move_only_arguments_and_results_and_void) {
  run([] {
    scope s;
    auto a = s.async([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3));
    bool ran = false;
    future<void> b = s.async([&] { ran = true; });
    EXPECT_EQ(*a.get(), 3);
    b.get();
    EXPECT_TRUE(ran);
    s.join();
  });
}

TEST_P(future_test, wait_and_ready_tell_when_it_is_there) {
  run([] {
    channel<int> gate(0);
    scope s;
    auto f = s.async([&] { return *gate.receive(); });
    EXPECT_FALSE(f.ready());
    EXPECT_FALSE(f.wait_for(2ms));
    gate.send(5);
    f.wait();
    EXPECT_TRUE(f.ready());
    EXPECT_TRUE(f.wait_for(0ms));
    EXPECT_EQ(f.get(), 5);
    s.join();
  });
}

TEST_P(future_test, an_exception_arrives_in_get_and_fails_the_scope) {
  run([] {
    scope s;
    auto f = s.async([]() -> int { throw std::runtime_error("no value"); });
    // The opener is cancelled by the failure, so it may only look at what is there already.
    while (!f.ready()) std::this_thread::yield();
    EXPECT_THROW(s.join(), std::runtime_error);
    EXPECT_THROW(f.get(), std::runtime_error);
  });
}

TEST_P(future_test, a_cancelled_child_breaks_its_promise) {
  run([] {
    future<int> f;
    {
      scope s;
      f = s.async([] {
        this_fiber::sleep_for(24h);
        return 1;
      });
      settle();
      s.cancel();
      s.join();
    }
    EXPECT_THROW(f.get(), broken_promise);
  });
}

TEST_P(future_test, several_may_wait_for_one) {
  run([] {
    scope s;
    channel<int> gate(0);
    auto f = s.async([&] { return *gate.receive(); });
    std::atomic<int> woken{0};
    for (int i = 0; i < 5; ++i)
      s.go([&] {
        f.wait();
        ++woken;
      });
    std::thread t([&] {
      f.wait();
      ++woken;
    });
    settle();
    EXPECT_EQ(woken, 0);
    gate.send(1);
    s.join();
    t.join();
    EXPECT_EQ(woken, 6);
  });
}

TEST_P(future_test, may_outlive_its_scope) {
  run([] {
    future<std::string> f;
    EXPECT_FALSE(f.valid());
    {
      scope s;
      f = s.async([] { return std::string("still here"); });
      s.join();
    }
    EXPECT_EQ(f.get(), "still here");
  });
}

TEST_P(future_test, a_future_that_nobody_asks_is_no_leak) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      scope s;
      (void)s.async([] { return std::make_unique<int>(1); });
      s.join();
    }
  });
}

}  // namespace
}  // namespace thrum
