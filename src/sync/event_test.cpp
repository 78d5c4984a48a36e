// What event.hpp promises.
#include <thrum/event.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class event_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, event_test, worker_counts, count_name);

TEST_P(event_test, lets_all_through_once_it_is_set) {
  run([] {
    event e;
    int plain = 0;
    std::atomic<int> through{0};
    scope all;
    for (int i = 0; i < 6; ++i)
      all.go([&] {
        e.wait();
        EXPECT_EQ(plain, 1);
        ++through;
      });
    settle();
    EXPECT_EQ(through, 0);
    EXPECT_FALSE(e.is_set());
    plain = 1;
    e.set();
    all.join();
    EXPECT_TRUE(e.is_set());
    e.wait();
    event(true).wait();
  });
}

TEST_P(event_test, reset_stops_those_who_come_later_only) {
  run([] {
    event e;
    fiber before = spawn([&] { e.wait(); });
    settle();
    e.set();
    e.reset();
    before.join();
    EXPECT_FALSE(e.wait_for(1ms));
    EXPECT_FALSE(e.wait_until(clock::now()));
    e.set();
    EXPECT_TRUE(e.wait_for(0s));
  });
}

TEST_P(event_test, may_be_destroyed_as_soon_as_wait_returns) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      auto e = std::make_unique<event>();
      go([&e = *e] { e.set(); });
      e->wait();
      e.reset();
    }
  });
}

TEST_P(event_test, works_between_fibers_and_threads) {
  run([] {
    event from_thread, from_fiber;
    std::thread t([&] {
      from_fiber.wait();
      from_thread.set();
    });
    from_fiber.set();
    from_thread.wait();
    t.join();
  });
}

}  // namespace
}  // namespace thrum
