// What promise.hpp, and of future.hpp shared_future, promise.
#include <thrum/promise.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>

#include <thrum/scope.hpp>

#include "support.hpp"
#include "values.hpp"

namespace thrum {
namespace {

using namespace test;

class promise_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, promise_test, worker_counts, count_name);
class shared_future_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, shared_future_test, worker_counts, count_name);

std::exception_ptr failure(const char* what) { return std::make_exception_ptr(std::runtime_error(what)); }

TEST_P(promise_test, a_value_arrives_from_a_fiber_and_from_a_thread) {
  run([] {
    promise<std::string> a, b;
    auto fa = a.get_future(), fb = b.get_future();
    EXPECT_FALSE(fa.ready());
    go([&] { a.set_value("from a fiber"); });
    std::thread t([&] {
      std::this_thread::sleep_for(a_moment);
      b.set_value("from a thread");
    });
    EXPECT_EQ(fa.get(), "from a fiber");
    EXPECT_EQ(fb.get(), "from a thread");
    EXPECT_FALSE(fa.valid());
    t.join();
  });
}

TEST_P(promise_test, a_plain_thread_may_wait) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    std::atomic<bool> waited{false};
    std::thread t([&] {
      EXPECT_FALSE(f.wait_for(1ms));
      waited = true;
      EXPECT_EQ(f.get(), 7);
    });
    EXPECT_TRUE(eventually([&] { return waited.load(); }));
    settle();
    p.set_value(7);
    t.join();
  });
}

TEST(promise_without_a_runtime, works_between_threads) {
  promise<int> p;
  auto f = p.get_future();
  std::thread t([&] { p.set_value(1); });
  EXPECT_EQ(f.get(), 1);
  t.join();
}

TEST_P(promise_test, void_references_and_move_only_types) {
  run([] {
    promise<void> nothing;
    promise<int&> reference;
    promise<std::unique_ptr<int>> moved;
    int x = 5;
    nothing.set_value();
    reference.set_value(x);
    moved.set_value(std::make_unique<int>(6));
    nothing.get_future().get();
    EXPECT_EQ(&reference.get_future().get(), &x);
    EXPECT_EQ(*moved.get_future().get(), 6);
  });
}

TEST_P(promise_test, an_exception_arrives_in_get) {
  run([] {
    promise<int> p, q;
    p.set_exception(failure("late"));
    EXPECT_THROW(p.get_future().get(), std::runtime_error);
    q.set_exception(nullptr);
    EXPECT_THROW(q.get_future().get(), broken_promise);
  });
}

TEST_P(promise_test, dropped_without_a_result_it_is_broken) {
  run([] {
    future<int> a, b;
    {
      promise<int> p, q;
      a = p.get_future();
      b = q.get_future();
      fiber waiter = spawn([&] { EXPECT_THROW(a.get(), broken_promise); });
      settle();
      EXPECT_FALSE(a.ready());
      p = promise<int>();
      waiter.join();
      EXPECT_FALSE(b.ready());
    }
    EXPECT_TRUE(b.ready());
    EXPECT_THROW(b.get(), broken_promise);
    EXPECT_THROW(b.get(), no_state);
  });
}

TEST_P(promise_test, of_a_cancelled_fiber_is_broken) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    fiber producer = spawn([p = std::move(p)]() mutable {
      this_fiber::sleep_for(24h);
      p.set_value(1);
    });
    producer.request_stop();
    EXPECT_THROW(f.get(), broken_promise);
    producer.join();
  });
}

TEST_P(promise_test, a_second_result_is_refused) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    p.set_value(1);
    EXPECT_THROW(p.set_value(2), promise_already_satisfied);
    EXPECT_THROW(p.set_exception(failure("late")), promise_already_satisfied);
    EXPECT_THROW(p.set_value(2), std::logic_error);
    EXPECT_EQ(f.get(), 1);
  });
}

TEST_P(promise_test, a_second_future_is_refused) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    EXPECT_THROW(p.get_future(), future_already_retrieved);
    promise<int> q(std::move(p));
    EXPECT_THROW(q.get_future(), std::logic_error);
    p = promise<int>();
    (void)p.get_future();
    q.set_value(1);
    EXPECT_EQ(f.get(), 1);
  });
}

TEST_P(promise_test, moved_from_it_has_no_state) {
  run([] {
    promise<int> p, q(std::move(p));
    EXPECT_THROW(p.get_future(), no_state);
    EXPECT_THROW(p.set_value(1), no_state);
    EXPECT_THROW(p.set_exception(failure("late")), no_state);
  });
}

TEST_P(promise_test, a_value_that_cannot_be_stored_leaves_it_without_a_result) {
  run([] {
    promise<hard_to_copy> p;
    auto f = p.get_future();
    const hard_to_copy h;
    EXPECT_THROW(p.set_value(h), std::runtime_error);
    EXPECT_FALSE(f.ready());
    p.set_value(hard_to_copy());
    (void)f.get();
  });
}

TEST_P(promise_test, of_several_who_set_it_one_wins) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      promise<int> p;
      auto f = p.get_future();
      std::atomic<int> refused{0};
      scope s;
      for (int k = 0; k < 4; ++k)
        s.go([&, k] {
          try {
            p.set_value(k);
          } catch (const promise_already_satisfied&) {
            ++refused;
          }
        });
      EXPECT_LT(f.get(), 4);
      s.join();
      EXPECT_EQ(refused, 3);
    }
  });
}

TEST_P(promise_test, whoever_got_the_value_may_destroy_it) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto p = std::make_unique<promise<int>>();
      auto f = p->get_future();
      go([&q = *p, i] { q.set_value(i); });
      EXPECT_EQ(f.get(), i);
      p.reset();
    }
  });
}

TEST_P(promise_test, wait_until_tells_whether_the_time_was_up) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    EXPECT_FALSE(f.wait_until(clock::now() + 1ms));
    EXPECT_FALSE(f.wait_until(std::chrono::system_clock::now()));
    EXPECT_FALSE(f.wait_for(0ms));
    p.set_value(1);
    EXPECT_TRUE(f.wait_until(clock::now() - 1h));
    EXPECT_TRUE(f.wait_for(24h));
    EXPECT_EQ(f.get(), 1);
  });
}

TEST_P(promise_test, a_cancelled_get_leaves_the_future_as_it_was) {
  run([] {
    promise<counted> p;
    auto f = p.get_future();
    fiber waiter = spawn([&] { EXPECT_THROW(f.get(), cancelled); });
    settle();
    waiter.request_stop();
    waiter.join();
    EXPECT_TRUE(f.valid());
    p.set_value(counted(3));
    fiber late = spawn([&] {
      scope s;
      s.cancel();
      EXPECT_THROW(f.get(), cancelled);  // Though it is ready.
    });
    late.join();
    EXPECT_EQ(f.get().value, 3);
  });
  EXPECT_EQ(counted::alive, 0);
}

TEST_P(promise_test, a_value_that_nobody_gets_is_destroyed) {
  run([] {
    for (int i = 0; i < 20; ++i) {
      promise<counted> p;
      if (i % 2) (void)p.get_future();
      p.set_value(counted(i));
    }
    future<counted> f;
    {
      promise<counted> p;
      f = p.get_future();
      p.set_value(counted(1));
    }
    EXPECT_EQ(counted::alive, 1);
  });
  EXPECT_EQ(counted::alive, 0);
}

// ---------------------------------------------------------------------------------------------------------------

TEST_P(shared_future_test, many_get_the_same_value) {
  run([] {
    promise<std::string> p;
    shared_future<std::string> f = p.get_future().share();
    std::atomic<const std::string*> seen{nullptr};
    std::atomic<int> got{0};
    scope s;
    const auto look = [&, f] {
      const std::string& v = f.get();
      EXPECT_EQ(v, "for all");
      const std::string* before = seen.exchange(&v);
      EXPECT_TRUE(!before || before == &v);
      ++got;
    };
    for (int i = 0; i < 8; ++i) s.go(look);
    std::thread t(look);
    settle();
    p.set_value("for all");
    s.join();
    t.join();
    EXPECT_EQ(got, 9);
    EXPECT_EQ(f.get(), "for all");
    EXPECT_TRUE(f.valid());
    EXPECT_TRUE(f.ready());
  });
}

TEST_P(shared_future_test, shares_exceptions_void_and_references) {
  run([] {
    promise<int> p;
    promise<void> q;
    promise<int&> r;
    int x = 1;
    auto a = p.get_future().share();
    auto b = q.get_future().share();
    shared_future<int&> c = r.get_future();
    p.set_exception(failure("for all"));
    q.set_value();
    r.set_value(x);
    static_assert(std::is_same_v<decltype(a.get()), const int&>);
    static_assert(std::is_same_v<decltype(b.get()), void>);
    static_assert(std::is_same_v<decltype(c.get()), int&>);
    for (int i = 0; i < 2; ++i) {
      EXPECT_THROW(a.get(), std::runtime_error);
      b.get();
      EXPECT_EQ(&c.get(), &x);
    }
  });
}

TEST_P(shared_future_test, sharing_empties_the_future) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    auto g = f.share();
    EXPECT_FALSE(f.valid());
    EXPECT_THROW(f.wait(), no_state);
    EXPECT_TRUE(g.valid());
    EXPECT_FALSE(shared_future<int>().valid());
    EXPECT_THROW(shared_future<int>().get(), no_state);
    EXPECT_FALSE(g.wait_for(1ms));
  });
}

TEST_P(shared_future_test, the_value_lives_as_long_as_one_of_the_copies) {
  run([] {
    shared_future<counted> f;
    {
      promise<counted> p;
      auto g = p.get_future().share();
      f = g;
      p.set_value(counted(2));
    }
    EXPECT_EQ(f.get().value, 2);
    f = {};
    EXPECT_EQ(counted::alive, 0);
  });
}

}  // namespace
}  // namespace thrum
