// What wait_on_address.hpp promises.
#include <thrum/wait_on_address.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class wait_on_address_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, wait_on_address_test, worker_counts, count_name);

TEST_P(wait_on_address_test, does_not_wait_when_the_value_is_another) {
  run([] {
    std::atomic<int> a{1};
    wait_on_address(a, 0);
    EXPECT_TRUE(wait_on_address_for(a, 0, 0s));
    EXPECT_FALSE(wait_on_address_for(a, 1, 1ms));
    EXPECT_FALSE(wait_on_address_until(a, 1, clock::now()));
  });
}

TEST_P(wait_on_address_test, wakes_one_or_all_of_that_address) {
  run([] {
    std::atomic<std::uint8_t> a{0}, b{0};
    std::atomic<int> woken{0};
    std::vector<fiber> fibers;
    std::vector<task_handle<void>> tasks;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      fibers.push_back(spawn([&] {
        wait_on_address(a, 0);
        ++woken;
      }));
      tasks.push_back(spawn([&]() -> task<> {
        co_await async_wait_on_address(a, 0);
        ++woken;
      }));
      threads.emplace_back([&] {
        wait_on_address(a, 0);
        ++woken;
      });
    }
    fiber other = spawn([&] { wait_on_address(b, 0); });
    settle();
    EXPECT_TRUE(eventually([&] {
      wake_by_address_one(a);
      return woken >= 1;
    }));
    a = 1;
    wake_by_address_all(a);
    for (auto& f : fibers) f.join();
    for (auto& t : tasks) t.join();
    for (auto& t : threads) t.join();
    EXPECT_EQ(woken, 12);
    b = 1;
    wake_by_address_all(b);
    other.join();
  });
}

// A lock as one would make it of a futex (Drepper's second).
class own_lock {
 public:
  void lock() {
    int c = 0;
    if (word_.compare_exchange_strong(c, 1)) return;
    if (c != 2) c = word_.exchange(2);
    while (c != 0) {
      wait_on_address(word_, 2);
      c = word_.exchange(2);
    }
  }
  void unlock() {
    if (word_.exchange(0) == 2) wake_by_address_one(word_);
  }

 private:
  std::atomic<int> word_{0};
};

TEST_P(wait_on_address_test, a_lock_made_of_it_excludes) {
  run([] {
    std::vector<own_lock> locks(3);
    std::vector<long> counters(3);
    std::vector<fiber> all;
    for (std::size_t i = 0; i < 9; ++i)
      all.push_back(spawn([&, i] {
        for (int k = 0; k < 300; ++k) {
          std::lock_guard hold(locks[i % 3]);
          ++counters[i % 3];
          if (k % 8 == 0) this_fiber::yield();
        }
      }));
    for (auto& f : all) f.join();
    for (const long c : counters) EXPECT_EQ(c, 900);
  });
}

}  // namespace
}  // namespace thrum
