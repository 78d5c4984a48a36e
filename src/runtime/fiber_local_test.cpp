// What fiber_local.hpp promises.
#include <thrum/fiber_local.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class fiber_local_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, fiber_local_test, worker_counts, count_name);

// Where values tell that they are constructed and destroyed. Not fiber-local: it is what the tests read.
struct journal {
  mutex m;
  std::vector<std::string> lines;

  void write(std::string line) {
    std::lock_guard hold(m);
    lines.push_back(std::move(line));
  }
};
journal* current_journal;

struct noted {
  explicit noted(std::string n) : name(std::move(n)), fiber_id(this_fiber::get_id()) { write("begin "); }
  ~noted() {
    EXPECT_EQ(this_fiber::get_id(), fiber_id);  // On the fiber.
    write("end ");
  }
  noted(const noted&) = delete;

  void write(const char* what) const {
    if (current_journal) current_journal->write(what + name);
  }
  const std::string name;
  const std::uint64_t fiber_id;
};

fiber_local<noted> a([] { return noted("a"); });
fiber_local<noted> b([] { return noted("b"); });
fiber_local<int> number;

class with_journal {
 public:
  with_journal() { current_journal = &j; }
  ~with_journal() { current_journal = nullptr; }
  journal j;
};

TEST_P(fiber_local_test, every_fiber_has_its_own_and_keeps_it_across_waits) {
  run([] {
    scope s;
    for (int i = 1; i <= 20; ++i)
      s.go([i] {
        EXPECT_EQ(number.find(), nullptr);
        EXPECT_EQ(*number, 0);
        *number = i;
        for (int k = 0; k < 10; ++k) {
          this_fiber::yield();
          EXPECT_EQ(*number, i);
        }
        this_fiber::sleep_for(a_moment);
        EXPECT_EQ(*number.find(), i);
      });
    s.join();
    EXPECT_EQ(number.find(), nullptr);
  });
}

TEST_P(fiber_local_test, is_constructed_at_the_first_use_and_destroyed_in_reverse_order_before_join_returns) {
  with_journal w;
  run([&] {
    fiber f = spawn([] {
      EXPECT_EQ(b->name, "b");
      EXPECT_EQ(a->name, "a");
      EXPECT_EQ(&*b, b.find());
    });
    f.join();
    EXPECT_EQ(w.j.lines, (std::vector<std::string>{"begin b", "begin a", "end a", "end b"}));
  });
}

TEST_P(fiber_local_test, is_destroyed_when_the_function_throws_or_is_cancelled) {
  with_journal w;
  run([&] {
    fiber failing = spawn([] {
      a.get();
      throw std::runtime_error("expected");
    });
    EXPECT_THROW(failing.join(), std::runtime_error);
    fiber stopped = spawn([] {
      a.get();
      this_fiber::sleep_for(24h);
    });
    settle();
    stopped.request_stop();
    stopped.join();
    go([] { a.get(); });
    EXPECT_TRUE(eventually([&] {
      std::lock_guard hold(w.j.m);
      return w.j.lines.size() >= 6;
    }));
    EXPECT_EQ(w.j.lines, (std::vector<std::string>{"begin a", "end a", "begin a", "end a", "begin a", "end a"}));
  });
}

TEST_P(fiber_local_test, of_a_child_is_gone_when_the_scope_is_joined) {
  with_journal w;
  run([&] {
    for (int i = 0; i < 20; ++i) {
      scope s;
      s.go([] { a.get(); });
      s.async([] { a.get(); });
      s.join();
      EXPECT_EQ(w.j.lines.size(), 4u);
      w.j.lines.clear();
    }
  });
}

TEST_P(fiber_local_test, a_constructor_that_throws_leaves_nothing) {
  run([] {
    static std::atomic<bool> fail;
    static fiber_local<int> fragile([] { return fail ? throw std::runtime_error("expected") : 7; });
    fail = true;
    EXPECT_THROW(fragile.get(), std::runtime_error);
    EXPECT_EQ(fragile.find(), nullptr);
    fail = false;
    EXPECT_EQ(*fragile, 7);
  });
}

TEST_P(fiber_local_test, reset_destroys_it_and_the_next_use_constructs_another) {
  with_journal w;
  run([&] {
    a.reset();  // Nothing there.
    a.get();
    b.get();
    a.reset();
    EXPECT_EQ(a.find(), nullptr);
    EXPECT_NE(b.find(), nullptr);
    a.get();
    EXPECT_EQ(w.j.lines, (std::vector<std::string>{"begin a", "begin b", "end a", "begin a"}));
  });
}

TEST_P(fiber_local_test, a_destructor_may_use_others_and_may_wait) {
  run([] {
    static std::atomic<int> seen;
    seen = 0;
    struct last_words {
      ~last_words() {
        this_fiber::sleep_for(a_moment);
        *number += 1;
        seen = *number;
      }
    };
    static fiber_local<last_words> words;
    fiber before = spawn([] {
      *number = 41;
      words.get();
    });
    before.join();
    EXPECT_EQ(seen, 42);
    fiber after = spawn([] {
      words.get();
      *number = 41;  // Destroyed before words, whose destructor makes another.
    });
    after.join();
    EXPECT_EQ(seen, 1);
  });
}

TEST_P(fiber_local_test, children_inherit_nothing) {
  run([] {
    *number = 7;
    fiber f = spawn([] { EXPECT_EQ(number.find(), nullptr); });
    f.join();
  });
}

TEST_P(fiber_local_test, values_outlive_a_fiber_local_that_goes_before) {
  run([] {
    auto count = std::make_shared<int>(0);
    fiber f = spawn([&] {
      {
        fiber_local<std::shared_ptr<int>> brief;
        *brief = count;
      }
      EXPECT_EQ(count.use_count(), 2);
      fiber_local<int> another;  // Perhaps where the other was.
      EXPECT_EQ(another.find(), nullptr);
    });
    f.join();
    EXPECT_EQ(count.use_count(), 1);
  });
}

TEST_P(fiber_local_test, does_not_leak_from_one_fiber_to_the_next_in_its_block) {
  run([] {
    for (int i = 0; i < 2000; ++i) {
      fiber f = spawn([] {
        EXPECT_EQ(number.find(), nullptr);
        *number = 1;
      });
      f.join();
    }
  });
}

TEST(fiber_local_on_threads, every_thread_has_its_own_until_its_end) {
  with_journal w;
  *number = 3;
  std::thread t([] {
    EXPECT_EQ(number.find(), nullptr);
    a.get();
    *number = 4;
  });
  t.join();
  EXPECT_EQ(*number, 3);
  number.reset();
  EXPECT_EQ(number.find(), nullptr);
  EXPECT_EQ(w.j.lines, (std::vector<std::string>{"begin a", "end a"}));
}

TEST_P(fiber_local_test, the_thread_that_calls_run_has_another_than_the_main_fiber) {
  *number = 5;
  run([] { EXPECT_EQ(number.find(), nullptr); });
  EXPECT_EQ(*number, 5);
  number.reset();
}

}  // namespace
}  // namespace thrum
