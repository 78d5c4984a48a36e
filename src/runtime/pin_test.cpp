// What pin.hpp promises.
#include <thrum/pin.hpp>

#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <unistd.h>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class pin_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, pin_test, worker_counts, count_name);

// Keeps the thread busy, as code would that never calls the runtime.
template <class Condition>
void hog_until(Condition holds) {
  while (!holds()) {
  }
}

TEST_P(pin_test, the_fiber_comes_back_to_its_thread_after_every_wait) {
  run([] {
    constexpr int fibers = 20, rounds = 50;
    channel<int> in(4), out(4);
    scope all;
    for (int i = 0; i < fibers; ++i)
      all.go([&] {
        const this_fiber::pin stay;
        const auto thread = ::gettid();
        for (int k = 0; k < rounds; ++k) {
          in.send(k);
          EXPECT_EQ(::gettid(), thread);
          this_fiber::yield();
          EXPECT_EQ(::gettid(), thread);
          out.receive();
          EXPECT_EQ(::gettid(), thread);
          if (k % 10 == 0) this_fiber::sleep_for(100us);
          EXPECT_EQ(::gettid(), thread);
          spawn([] { this_fiber::yield(); }).join();
          EXPECT_EQ(::gettid(), thread);
        }
      });
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        for (int k = 0; k < fibers * rounds / 4; ++k) in.receive(), out.send(k);
      });
    all.join();
  });
}

TEST_P(pin_test, the_thread_runs_others_while_the_pinned_fiber_waits) {
  run([] {
    std::atomic<bool> pinned{false}, go_on{false};
    fiber f = spawn([&] {
      const this_fiber::pin stay;
      pinned = true;
      while (!go_on) this_fiber::sleep_for(1ms);
    });
    EXPECT_TRUE(eventually([&] { return pinned.load(); }));
    std::atomic<int> ran{0};
    scope all;
    for (int i = 0; i < 100; ++i) all.go([&] { ++ran; });
    all.join();
    EXPECT_EQ(ran, 100);
    go_on = true;
    f.join();
  });
}

// The thread has lost its processor to a hog: the fiber waits for the thread, and nobody else does.
TEST_P(pin_test, the_fiber_waits_for_its_thread_when_that_is_busy) {
  run([] {
    std::atomic<bool> hogged{false}, resumed{false}, enough{false};
    channel<bool> wake(1);
    scope all;
    all.go([&] {
      const this_fiber::pin stay;
      const auto thread = ::gettid();
      do {  // An idle worker may take the hog to another thread: then another one is started.
        all.go([&, thread] {
          if (::gettid() != thread) return wake.send(false);
          hogged = true;
          hog_until([&] { return enough.load(); });
          EXPECT_FALSE(resumed);
        });
      } while (!*wake.receive());
      resumed = true;
      EXPECT_EQ(::gettid(), thread);
    });
    EXPECT_TRUE(eventually([&] { return hogged.load(); }));
    wake.send(true);
    for (int i = 0; i < 20; ++i) this_fiber::sleep_for(1ms);  // The others go on.
    EXPECT_FALSE(resumed);
    enough = true;
    all.join();
    EXPECT_TRUE(resumed);
  });
}

// A processor goes to and fro between threads that have fibers of their own.
TEST_P(pin_test, fibers_pinned_to_several_threads_talk_to_each_other) {
  run([] {
    constexpr int threads = 4, rounds = 100;
    std::atomic<int> ready{0};
    std::vector<channel<int>> ring;
    for (int i = 0; i < threads; ++i) ring.emplace_back(1);
    std::set<pid_t> used;
    std::mutex m;  // Not ours: a fiber that waited here would find that another one hogs its thread.
    scope all;
    for (int i = 0; i < threads; ++i)
      all.go([&, i] {
        const this_fiber::pin stay;
        const auto thread = ::gettid();
        {
          std::lock_guard hold(m);
          used.insert(thread);
        }
        ++ready;
        hog_until([&] { return ready == threads; });  // So that each has a thread of its own.
        for (int k = 0; k < rounds; ++k) {
          if (i == 0) ring[0].send(k);
          EXPECT_EQ(ring[static_cast<std::size_t>(i)].receive(), k);
          EXPECT_EQ(::gettid(), thread);
          if (i + 1 < threads) ring[static_cast<std::size_t>(i) + 1].send(k);
        }
      });
    all.join();
    EXPECT_EQ(used.size(), static_cast<std::size_t>(threads));
  });
}

TEST_P(pin_test, pins_nest_and_the_outermost_counts) {
  run([] {
    std::optional<this_fiber::pin> outer(std::in_place);
    const auto thread = ::gettid();
    {
      const this_fiber::pin inner;
      this_fiber::sleep_for(100us);
      EXPECT_EQ(::gettid(), thread);
    }
    for (int i = 0; i < 20; ++i) {
      this_fiber::sleep_for(100us);
      EXPECT_EQ(::gettid(), thread);
    }
    outer.reset();
  });
}

TEST_P(pin_test, a_fiber_that_was_pinned_moves_again) {
  run([] {
    enum class hog { starts, is_elsewhere, is_here };
    std::atomic<hog> state{hog::is_elsewhere};
    std::atomic<bool> over{false};
    {
      const this_fiber::pin stay;
      this_fiber::yield();
    }
    scope all;
    pid_t thread = 0;
    while (state != hog::is_here) {
      state = hog::starts;
      thread = ::gettid();
      all.go([&, thread] {
        if (::gettid() != thread) {
          state = hog::is_elsewhere;
          return;
        }
        state = hog::is_here;
        hog_until([&] { return over.load(); });
      });
      while (state == hog::starts) this_fiber::yield();
    }
    EXPECT_NE(::gettid(), thread);  // While the hog keeps that one.
    over = true;
    all.join();
  });
}

TEST_P(pin_test, a_pinned_fiber_that_is_cancelled_unwinds_on_its_thread) {
  run([] {
    std::atomic<pid_t> before{0}, after{0};
    fiber f = spawn([&] {
      const this_fiber::pin stay;
      before = ::gettid();
      try {
        this_fiber::sleep_for(24h);
      } catch (...) {
        after = ::gettid();
        throw;
      }
    });
    EXPECT_TRUE(eventually([&] { return before != 0; }));
    settle();
    f.request_stop();
    f.join();
    EXPECT_EQ(before, after);
  });
}

TEST_P(pin_test, a_task_cannot_be_pinned) {
  run([] {
    EXPECT_THROW(spawn([]() -> task<> {
                   const this_fiber::pin stay;
                   co_return;
                 }())
                     .join(),
                 std::logic_error);
  });
}

TEST(pin, does_nothing_on_a_plain_thread) {
  const this_fiber::pin stay;
  const this_fiber::pin nested;
}

}  // namespace
}  // namespace thrum
