// What guarded.hpp promises.
#include <thrum/guarded.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class guarded_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, guarded_test, worker_counts, count_name);

TEST_P(guarded_test, data_is_reached_under_its_lock_alone) {
  run([] {
    guarded<std::vector<int>> g(3, 7);
    EXPECT_EQ(g.lock()->size(), 3u);
    {
      auto v = g.lock();
      v->push_back(8);
      EXPECT_EQ(v->back(), 8);
      EXPECT_EQ(&*v, v.operator->());
      fiber other = spawn([&] { EXPECT_EQ(g.lock()->size(), 5u); });
      settle();
      v->push_back(9);
      auto moved = std::move(v);
      other.detach();
      EXPECT_EQ(moved->size(), 5u);
    }
    EXPECT_EQ(g.with([](auto& v) { return v.size(); }), 5u);
    int& last = g.with([](std::vector<int>& v) -> int& { return v.back(); });
    EXPECT_EQ(last, 9);
    settle();
  });
}

TEST_P(guarded_test, counts_every_increment) {
  run([] {
    guarded<int> n(0);
    scope all;
    for (int i = 0; i < 8; ++i)
      all.go([&] {
        for (int k = 0; k < 200; ++k) {
          auto a = n.lock();
          const int seen = *a;
          if (k % 32 == 0) this_fiber::yield();
          *a = seen + 1;
        }
      });
    all.join();
    EXPECT_EQ(*n.lock(), 1600);
  });
}

TEST_P(guarded_test, waits_until_the_predicate_holds) {
  run([] {
    guarded<int> n(0);
    std::vector<fiber> all;
    for (int i = 1; i <= 5; ++i)
      all.push_back(spawn([&, i] {
        auto a = n.wait([i](const int& v) { return v >= i; });
        EXPECT_GE(*a, i);
      }));
    for (int i = 0; i < 5; ++i) {
      settle();
      ++*n.lock();
    }
    for (auto& f : all) f.join();
  });
}

TEST_P(guarded_test, timed_waits_tell_whether_it_holds) {
  run([] {
    guarded<bool> ready(false);
    EXPECT_FALSE(ready.wait_for(1ms, [](bool r) { return r; }));
    EXPECT_FALSE(ready.wait_until(clock::now(), [](bool r) { return r; }));
    fiber f = spawn([&] {
      auto a = ready.wait_for(hang_guard, [](bool r) { return r; });
      ASSERT_TRUE(a);
      EXPECT_TRUE(**a);
    });
    settle();
    *ready.lock() = true;
    f.join();
  });
}

TEST_P(guarded_test, a_cancelled_wait_leaves_it_unlocked) {
  run([] {
    guarded<int> n(0);
    fiber f = spawn([&] { (void)n.wait([](int v) { return v > 0; }); });
    settle();
    f.request_stop();
    f.join();
    EXPECT_EQ(++*n.lock(), 1);
  });
}

TEST_P(guarded_test, many_can_read_at_a_time_under_a_shared_mutex) {
  run([] {
    guarded<int, shared_mutex> n(7);
    {
      const auto a = n.read();
      fiber other = spawn([&] { EXPECT_EQ(*n.read(), 7); });
      other.join();
      EXPECT_EQ(*a, 7);
    }
    fiber waits = spawn([&] { EXPECT_EQ(*n.wait([](int v) { return v == 8; }), 8); });
    settle();
    ++*n.lock();
    waits.join();
    static_assert(std::is_same_v<decltype(*n.read()), const int&>);
  });
}

template <class G>
concept can_read = requires(G g) {
  g.read();
};
static_assert(!can_read<guarded<int>>);
static_assert(can_read<guarded<int, shared_mutex>>);

}  // namespace
}  // namespace thrum
