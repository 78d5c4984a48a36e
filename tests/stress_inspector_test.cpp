// An inspector beside fibers, tasks and threads that wait for one another all the time, and always go on: it accuses
// nobody.
#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

THRUM_STRESS_SUITE(inspector_storm);

// Locks are taken in one order, so that somebody can always go on.
struct busy_place {
  mutex outer, middle;
  shared_mutex inner;
  recursive_mutex again;
  timed_mutex timed;

  void use() {
    std::lock_guard a(outer);
    this_fiber::yield();
    std::lock_guard b(middle);
    std::unique_lock limited(timed, 50us);
    const std::lock_guard c(again), d(again);
    if (limited)
      std::lock_guard e(inner);
    else
      std::shared_lock e(inner);
  }
  void use_the_inner_ones() {
    std::lock_guard b(middle);
    this_fiber::yield();
    std::shared_lock e(inner);
  }
  task<> use_in_a_task() {
    {
      auto b = co_await middle.async_scoped_lock();
      co_await inner.async_lock();
      inner.unlock();
    }
    co_await async_sleep_for(10us);
  }
};

TEST_P(inspector_storm, nobody_is_accused_who_goes_on) {
  std::atomic<bool> over{false};
  busy_place place;
  std::thread outside([&] {
    while (!over) {
      std::lock_guard a(place.outer);
      std::lock_guard b(place.middle);
    }
  });
  run([&] {
    scope s;
    for (int i = 0; i < 8; ++i) {
      s.go([&] {
        while (!over) place.use();
      });
      s.go([&] {
        while (!over) {
          scope own;
          own.go([&] { place.use_the_inner_ones(); });
          spawn([&] { place.use_the_inner_ones(); }).join();
          once_flag once;
          own.go([&] { call_once(once, [&] { place.use_the_inner_ones(); }); });
          call_once(once, [&] { place.use(); });
          own.join();
        }
      });
      go_in(s, [](busy_place& p, std::atomic<bool>& end) -> task<> {
        while (!end) co_await p.use_in_a_task();
      }(place, over));
    }
    inspector doctor;
    repeat([&] {
      for (const auto& f : doctor.look(0ns)) EXPECT_FALSE(f.proven()) << to_string(f);
      this_fiber::yield();
    });
    over = true;
    s.join();
  });
  outside.join();
}

}  // namespace
}  // namespace thrum::stress
