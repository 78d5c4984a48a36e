// What lock.hpp promises. What Clang's analysis makes of it: tests/thread_safety.
#include <thrum/lock.hpp>

#include <mutex>
#include <type_traits>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class lock_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, lock_test, worker_counts, count_name);

template <class Mutex>
void count_under(Mutex& m) {
  int n = 0;
  scope s;
  for (int i = 0; i < 8; ++i)
    s.go([&] {
      for (int k = 0; k < 50; ++k) {
        lock_guard hold(m);
        const int seen = n;
        if (k % 16 == 0) this_fiber::yield();
        n = seen + 1;
      }
    });
  s.join();
  EXPECT_EQ(n, 400);
}

TEST_P(lock_test, lock_guard_excludes_others_to_the_end_of_the_block) {
  run([] {
    mutex plain;
    timed_mutex timed;
    recursive_mutex recursive;
    shared_mutex shared;
    count_under(plain);
    count_under(timed);
    count_under(recursive);
    count_under(shared);
    plain.lock();
    { lock_guard hold(plain, std::adopt_lock); }
    EXPECT_TRUE(plain.try_lock());
    plain.unlock();
  });
}

TEST_P(lock_test, unique_lock_is_one_of_std_s) {
  run([] {
    mutex m;
    condition_variable changed;
    bool ready = false;
    fiber other = spawn([&] {
      settle();
      unique_lock hold(m);
      ready = true;
      hold.unlock();
      changed.notify_all();
      hold.lock();
    });
    unique_lock hold(m);
    EXPECT_TRUE(hold.owns_lock());
    changed.wait(hold, [&] { return ready; });
    hold.unlock();
    other.join();
    unique_lock later(m, std::defer_lock);
    EXPECT_FALSE(later.owns_lock());
    EXPECT_TRUE(later.try_lock());
    later.unlock();
    m.lock();
    { unique_lock adopted(m, std::adopt_lock); }
    static_assert(!std::is_move_constructible_v<unique_lock<mutex>>);
  });
}

TEST_P(lock_test, shared_locks_are_held_together) {
  run([] {
    shared_mutex m;
    shared_lock first(m);
    shared_lock second(m);
    EXPECT_FALSE(m.try_lock());
    first.unlock();
    second.unlock();
    EXPECT_TRUE(first.try_lock());
    second.lock();
  });
}

}  // namespace
}  // namespace thrum
