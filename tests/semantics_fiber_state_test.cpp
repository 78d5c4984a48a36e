// State that the language and the C library keep per thread, but that belongs to the fiber: exceptions in flight,
// errno, floating-point control.
#include <array>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class fiber_state : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, fiber_state, worker_counts, count_name);

// Not inlined: what the C++ runtime and the C library keep per thread must be looked up again after every switch.
[[gnu::noinline]] int uncaught() { return std::uncaught_exceptions(); }
[[gnu::noinline]] bool in_catch_block() { return std::current_exception() != nullptr; }
[[gnu::noinline]] int read_errno() { return errno; }
[[gnu::noinline]] void write_errno(int value) { errno = value; }

std::string current_message() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  }
}

TEST_P(fiber_state, a_handler_may_suspend_and_still_knows_its_exception) {
  run([] {
    scope s;
    for (int k = 0; k < 8; ++k)
      s.go([k] {
        const auto mine = "fiber " + std::to_string(k);
        for (int i = 0; i < 50; ++i) {
          try {
            throw std::runtime_error(mine);
          } catch (const std::runtime_error& e) {
            this_fiber::yield();
            EXPECT_EQ(e.what(), mine);
            EXPECT_EQ(current_message(), mine);
            this_fiber::yield();
            EXPECT_EQ(current_message(), mine);
          }
          EXPECT_FALSE(in_catch_block());
          this_fiber::yield();
          EXPECT_FALSE(in_catch_block());
        }
      });
    s.join();
  });
}

TEST_P(fiber_state, nested_handlers_interleave_between_fibers) {
  run([] {
    scope s;
    for (int k = 0; k < 6; ++k)
      s.go([k] {
        for (int i = 0; i < 30; ++i) {
          try {
            throw std::runtime_error("outer " + std::to_string(k));
          } catch (...) {
            this_fiber::yield();
            try {
              throw std::runtime_error("inner " + std::to_string(k));
            } catch (...) {
              this_fiber::yield();
              EXPECT_EQ(current_message(), "inner " + std::to_string(k));
            }
            this_fiber::yield();
            EXPECT_EQ(current_message(), "outer " + std::to_string(k));
          }
        }
      });
    s.join();
  });
}

TEST_P(fiber_state, rethrowing_after_a_switch_throws_ones_own_exception) {
  run([] {
    scope s;
    for (int k = 0; k < 6; ++k)
      s.go([k] {
        for (int i = 0; i < 30; ++i) {
          try {
            try {
              throw k;
            } catch (...) {
              this_fiber::yield();
              throw;
            }
          } catch (int caught) {
            EXPECT_EQ(caught, k);
          }
        }
      });
    s.join();
  });
}

// Suspends while an exception is in flight: a destructor that waits.
struct yields_when_destroyed {
  ~yields_when_destroyed() {
    EXPECT_EQ(uncaught(), expected);
    this_fiber::yield();
    EXPECT_EQ(uncaught(), expected);
  }
  int expected;
};

TEST_P(fiber_state, destructors_may_suspend_while_an_exception_is_in_flight) {
  run([] {
    scope s;
    for (int k = 0; k < 8; ++k)
      s.go([k] {
        for (int i = 0; i < 30; ++i) {
          EXPECT_EQ(uncaught(), 0);
          try {
            yields_when_destroyed guard{1};
            throw k;
          } catch (int caught) {
            EXPECT_EQ(caught, k);
            EXPECT_EQ(uncaught(), 0);
          }
          yields_when_destroyed calm{0};
          this_fiber::yield();
        }
      });
    s.join();
  });
}

TEST_P(fiber_state, a_new_fiber_starts_without_exceptions) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      try {
        throw std::runtime_error("of the spawner");
      } catch (...) {
        fiber f = spawn([] {
          EXPECT_FALSE(in_catch_block());
          EXPECT_EQ(uncaught(), 0);
          EXPECT_THROW(throw 1, int);
        });
        f.join();
        EXPECT_EQ(current_message(), "of the spawner");
      }
    }
  });
}

TEST_P(fiber_state, exception_pointers_travel_between_fibers) {
  run([] {
    channel<std::exception_ptr> ch(4);
    fiber thrower = spawn([&] {
      for (int i = 0; i < 100; ++i) {
        try {
          throw std::runtime_error(std::to_string(i));
        } catch (...) {
          ch.send(std::current_exception());
        }
      }
      ch.close();
    });
    int n = 0;
    for (auto& e : ch) {
      try {
        std::rethrow_exception(e);
      } catch (const std::runtime_error& x) {
        EXPECT_EQ(x.what(), std::to_string(n++));
      }
    }
    EXPECT_EQ(n, 100);
    thrower.join();
  });
}

TEST_P(fiber_state, exceptions_pass_through_deep_stacks) {
  run([] {
    struct deep {
      static int call(int n) {
        std::array<volatile char, 64> frame;
        frame[0] = static_cast<char>(n);
        if (n == 0) {
          this_fiber::yield();
          throw std::runtime_error("bottom");
        }
        return call(n - 1) + frame[0];
      }
    };
    scope s;
    for (int k = 0; k < 4; ++k) s.go([] { EXPECT_THROW(deep::call(300), std::runtime_error); });
    s.join();
  });
}

TEST_P(fiber_state, errno_belongs_to_the_fiber) {
  run([] {
    scope s;
    for (int k = 1; k <= 8; ++k)
      s.go([k] {
        for (int i = 0; i < 100; ++i) {
          write_errno(1000 + k);
          this_fiber::yield();
          EXPECT_EQ(read_errno(), 1000 + k);
          if (i % 25 == 0) {
            this_fiber::sleep_for(100us);
            EXPECT_EQ(read_errno(), 1000 + k);
          }
        }
      });
    s.join();
  });
}

TEST_P(fiber_state, rounding_belongs_to_the_fiber) {
  run([] {
    constexpr std::array modes{FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    scope s;
    for (int k = 0; k < 8; ++k)
      s.go([mode = modes[static_cast<std::size_t>(k) % 4]] {
        EXPECT_EQ(std::fegetround(), FE_TONEAREST);
        std::fesetround(mode);
        for (int i = 0; i < 100; ++i) {
          this_fiber::yield();
          EXPECT_EQ(std::fegetround(), mode);
        }
        // Left as it is: it must not reach the next fiber on this thread.
      });
    s.join();
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  });
}

TEST_P(fiber_state, a_new_fiber_starts_with_standard_rounding_whoever_ran_before) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      fiber odd = spawn([] {
        std::fesetround(FE_UPWARD);
        this_fiber::yield();  // Straight into a fiber that has not started.
      });
      std::vector<fiber> fresh;
      for (int k = 0; k < 4; ++k) fresh.push_back(spawn([] { EXPECT_EQ(std::fegetround(), FE_TONEAREST); }));
      odd.join();
      for (auto& f : fresh) f.join();
    }
  });
}

// Half of the fibers move on to other threads: what a fiber looks at must be what belongs to it there.
TEST_P(fiber_state, state_follows_the_fiber_to_another_thread) {
  run([] {
    std::atomic<int> moved{0};
    scope s;
    for (int k = 0; k < 16; ++k)
      s.go([&, k] {
        try {
          throw k;
        } catch (int caught) {
          write_errno(2000 + k);
          std::fesetround(k % 2 ? FE_UPWARD : FE_DOWNWARD);
          for (int i = 0; i < 200; ++i) {
            const auto before = std::this_thread::get_id();
            if (i % 20 == 0)
              this_fiber::sleep_for(50us);
            else
              this_fiber::yield();
            if (std::this_thread::get_id() != before) ++moved;
          }
          EXPECT_EQ(read_errno(), 2000 + k);
          EXPECT_EQ(std::fegetround(), k % 2 ? FE_UPWARD : FE_DOWNWARD);
          EXPECT_EQ(caught, k);
          EXPECT_TRUE(in_catch_block());
        }
      });
    s.join();
    RecordProperty("moved", moved.load());
  });
}

}  // namespace
}  // namespace thrum
