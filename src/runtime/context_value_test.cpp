// What context_value.hpp promises. That an end out of order ends the process: tests/crash_misuse_test.cpp.
#include <thrum/context_value.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class context_value_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, context_value_test, worker_counts, count_name);

context_key<int> request;
context_key<std::string> user;
context_key<std::shared_ptr<int>> resource;

TEST_P(context_value_test, is_in_force_to_the_end_of_its_block) {
  run([] {
    EXPECT_THROW(request.get(), no_context_value);
    EXPECT_EQ(request.find(), nullptr);
    EXPECT_EQ(request.get_or(-1), -1);
    {
      context_value r(request, 7);
      context_value u(user, "ann");
      EXPECT_EQ(request.get(), 7);
      EXPECT_EQ(user.get(), "ann");
      EXPECT_EQ(request.get_or(-1), 7);
      this_fiber::yield();
      EXPECT_EQ(*request.find(), 7);
    }
    EXPECT_EQ(request.find(), nullptr);
    EXPECT_EQ(user.find(), nullptr);
  });
}

TEST_P(context_value_test, an_inner_binding_hides_the_outer_one) {
  run([] {
    context_value outer(request, 1);
    {
      context_value inner(request, 2);
      EXPECT_EQ(request.get(), 2);
    }
    EXPECT_EQ(request.get(), 1);
    try {
      context_value inner(request, 3);
      throw 0;
    } catch (int) {
      EXPECT_EQ(request.get(), 1);
    }
  });
}

TEST_P(context_value_test, whatever_is_started_below_sees_it) {
  run([] {
    std::atomic<int> seen{0};
    const auto look = [&] { seen += request.get(); };
    context_value r(request, 1);
    fiber f = spawn(look);
    f.join();
    wait_group gone(1);
    go([&] {
      look();
      gone.done();
    });
    gone.wait();
    scope s;
    s.go(look);
    s.async(look).get();
    s.go([&] { s.go(look); });  // And their children.
    s.join();
    std::array<int, 3> items{};
    for_each_concurrent(items, 2, [&](int) { look(); });
    EXPECT_EQ(seen, 8);
  });
}

TEST_P(context_value_test, siblings_and_those_started_before_do_not_see_it) {
  run([] {
    event bound, looked;
    fiber before = spawn([&] {
      bound.wait();
      EXPECT_EQ(request.find(), nullptr);
      looked.set();
    });
    context_value r(request, 1);
    bound.set();
    looked.wait();
    fiber child = spawn([] {
      context_value mine(request, 2);
      this_fiber::sleep_for(a_moment);
      EXPECT_EQ(request.get(), 2);
    });
    settle();
    EXPECT_EQ(request.get(), 1);
  });
}

TEST_P(context_value_test, a_fiber_keeps_what_it_saw_when_the_binding_has_gone) {
  run([] {
    auto value = std::make_shared<int>(42);
    event go_on;
    fiber f;
    {
      context_value r(resource, value);
      f = spawn([&] {
        go_on.wait();
        EXPECT_EQ(*resource.get(), 42);
        fiber grandchild = spawn([] { EXPECT_EQ(*resource.get(), 42); });
        grandchild.join();
      });
      EXPECT_EQ(value.use_count(), 2);
    }
    EXPECT_EQ(resource.find(), nullptr);
    EXPECT_EQ(value.use_count(), 2);  // The fiber's.
    go_on.set();
    f.join();
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST_P(context_value_test, a_value_is_destroyed_at_once_when_nobody_else_can_see_it) {
  run([] {
    auto value = std::make_shared<int>(1);
    {
      context_value r(resource, value);
      scope s;
      for (int i = 0; i < 10; ++i) s.go([] { this_fiber::yield(); });
      s.join();
      EXPECT_EQ(value.use_count(), 2);  // Children have let go of it when the scope is joined.
    }
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST_P(context_value_test, a_fiber_that_could_not_be_started_keeps_nothing) {
  run([] {
    struct refuses {
      refuses() = default;
      refuses(const refuses&) { throw 0; }
      void operator()() {}
    } closure;
    auto value = std::make_shared<int>(1);
    {
      context_value r(resource, value);
      EXPECT_THROW(go(closure), int);
      scope s;
      EXPECT_THROW(s.go(closure), int);
      s.join();
    }
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST_P(context_value_test, a_chain_of_any_length_is_released) {
  run([] {
    auto value = std::make_shared<int>(1);
    fiber last;
    {
      std::vector<std::unique_ptr<context_value<std::shared_ptr<int>>>> bindings;
      for (int i = 0; i < 50'000; ++i)
        bindings.push_back(std::make_unique<context_value<std::shared_ptr<int>>>(resource, value));
      last = spawn({.stack_size = 16 * 1024}, [] { this_fiber::sleep_for(a_moment); });
      while (!bindings.empty()) bindings.pop_back();
    }
    last.join();
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST_P(context_value_test, threads_hand_theirs_to_the_fibers_that_they_start) {
  context_value r(request, 9);
  run([] { EXPECT_EQ(request.get(), 9); });
  std::thread other([] { EXPECT_EQ(request.find(), nullptr); });
  other.join();
  runtime rt({.workers = GetParam()});
  fiber f = rt.spawn([] { EXPECT_EQ(request.get(), 9); });
  f.join();
}

TEST_P(context_value_test, storm_of_bindings_and_fibers) {
  run([] {
    auto value = std::make_shared<int>(0);
    {
      scope s;
      for (int i = 0; i < 8; ++i)
        s.go([&, i] {
          context_value mine(request, i);
          for (int k = 0; k < 50; ++k) {
            context_value r(resource, value);
            s.go([i] {
              EXPECT_EQ(request.get(), i);
              this_fiber::yield();
              EXPECT_NE(resource.get(), nullptr);
            });
          }
        });
      s.join();
    }
    EXPECT_EQ(value.use_count(), 1);
  });
}

}  // namespace
}  // namespace thrum
