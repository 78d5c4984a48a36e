// What semaphore.hpp promises.
#include <thrum/semaphore.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class semaphore_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, semaphore_test, worker_counts, count_name);

TEST_P(semaphore_test, lets_through_as_many_as_it_has_permits) {
  run([] {
    counting_semaphore<> s(3);
    std::atomic<int> inside{0};
    scope all;
    for (int i = 0; i < 20; ++i)
      all.go([&] {
        for (int k = 0; k < 20; ++k) {
          s.acquire();
          EXPECT_LE(++inside, 3);
          this_fiber::yield();
          --inside;
          s.release();
        }
      });
    all.join();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST_P(semaphore_test, permits_can_be_released_several_at_a_time) {
  run([] {
    counting_semaphore<8> s(0);
    wait_group all(5);
    for (int i = 0; i < 5; ++i)
      go([&] {
        s.acquire();
        all.done();
      });
    settle();
    s.release(7);
    all.wait();
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
    s.release(0);
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST_P(semaphore_test, those_who_wait_are_served_in_order_and_not_overtaken) {
  run([] {
    binary_semaphore s(0);
    std::vector<int> order;
    std::vector<fiber> waiters;
    for (int i = 0; i < 5; ++i) {
      waiters.push_back(spawn([&, i] {
        s.acquire();
        order.push_back(i);
        s.release();
      }));
      until_the_others_wait();
    }
    s.release();
    EXPECT_FALSE(s.try_acquire());  // Handed over.
    for (auto& f : waiters) f.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    EXPECT_TRUE(s.try_acquire());
  });
}

TEST_P(semaphore_test, timed_waits_tell_whether_there_was_a_permit) {
  run([] {
    binary_semaphore s(1);
    EXPECT_TRUE(s.try_acquire_for(0s));
    const auto until = clock::now() + 3ms;
    EXPECT_FALSE(s.try_acquire_until(until));
    EXPECT_GE(clock::now(), until);
    fiber f = spawn([&] { EXPECT_TRUE(s.try_acquire_for(hang_guard)); });
    settle();
    s.release();
    f.join();
    s.release();  // Those who gave up left nothing behind: the permit is for the next.
    EXPECT_TRUE(s.try_acquire());
  });
}

TEST_P(semaphore_test, beyond_its_maximum_is_refused_and_changes_nothing) {
  run([] {
    EXPECT_THROW(counting_semaphore<3>(4), semaphore_overflow);
    EXPECT_THROW(counting_semaphore<3>(-1), semaphore_overflow);
    counting_semaphore<3> s(2);
    EXPECT_THROW(s.release(2), semaphore_overflow);
    EXPECT_THROW(s.release(-1), semaphore_overflow);
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
    s.release(3);
    EXPECT_THROW(s.release(), semaphore_overflow);
    static_assert(binary_semaphore::max() == 1);
  });
}

TEST_P(semaphore_test, may_be_destroyed_by_whoever_got_the_permit) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      auto s = std::make_unique<binary_semaphore>(0);
      go([&s = *s] { s.release(); });
      s->acquire();
      s.reset();
    }
  });
}

TEST_P(semaphore_test, works_between_fibers_and_threads) {
  run([] {
    binary_semaphore to_thread(0), to_fiber(0);
    int n = 0;
    std::thread t([&] {
      for (int i = 0; i < 200; ++i) {
        to_thread.acquire();
        ++n;
        to_fiber.release();
      }
    });
    for (int i = 0; i < 200; ++i) {
      to_thread.release();
      to_fiber.acquire();
      EXPECT_EQ(n, i + 1);
    }
    t.join();
  });
}

}  // namespace
}  // namespace thrum
