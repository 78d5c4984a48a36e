// The runtime's lock, also with more contenders than cores.
#include <thrum/detail/spinlock.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace thrum::detail {
namespace {

TEST(spinlock, excludes_threads_from_one_another) {
  spinlock lock;
  long counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 20'000; ++k) {
        std::lock_guard hold(lock);
        ++counter;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(counter, 8 * 20'000);
}

TEST(spinlock, try_lock_tells_whether_it_is_free) {
  spinlock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(spinlock, a_contender_waits_for_an_owner_that_is_away) {
  spinlock lock;
  lock.lock();
  std::atomic<bool> taken{false};
  std::thread t([&] {
    lock.lock();
    taken = true;
    lock.unlock();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // Through all stages of waiting.
  EXPECT_FALSE(taken);
  lock.unlock();
  t.join();
  EXPECT_TRUE(taken);
}

TEST(spinlock, is_four_bytes) { EXPECT_EQ(sizeof(spinlock), 4u); }

}  // namespace
}  // namespace thrum::detail
