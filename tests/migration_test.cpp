// A fiber goes on in another OS thread after it has waited. What belongs to the thread must be looked up
// again, what belongs to the fiber must come along. Built with link-time optimisation too (preset lto): the
// accessors of thread-local state must survive an optimiser that sees everything.
#include <cerrno>
#include <set>
#include <string>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/errno.hpp"
#include "sched/worker.hpp"
#include "stress_support.hpp"

namespace thrum::stress {
namespace {

pid_t kernel_thread() { return static_cast<pid_t>(::syscall(SYS_gettid)); }

// Hogging for longer than the hurried monitor allows costs the thread its processor: the fiber resumes on
// another.
void hog_and_wait() {
  spin(150us);
  this_fiber::yield();
}

class migration : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(F&& f) {
    bare_runtime rt({.processors = GetParam(), .pace = hurried});
    rt.run([&] {
      // Work must wait for a processor to be taken away, and threads must take turns to have it.
      wait_group others(static_cast<int>(GetParam()) + 1);
      for (unsigned i = 0; i <= GetParam(); ++i) {
        go([&] {
          while (!over) hog_and_wait();
          others.done();
        });
      }
      f();
      over = true;
      others.wait();
    });
  }
  // Calls step() until the fiber has changed threads a number of times.
  template <class Step>
  void until_migrated(Step step) {
    int moves = 0;
    for (int i = 0; i < 20'000 && moves < 20; ++i) {
      const auto before = kernel_thread();
      step();
      moves += kernel_thread() != before;
    }
    EXPECT_GT(moves, 0);
  }
  std::atomic<bool> over{false};
};
INSTANTIATE_TEST_SUITE_P(workers, migration, ::testing::Values(1u, 2u, 4u),
                         [](const auto& tested) { return std::to_string(tested.param); });

// In a function that looks itself up before and after waiting, and in a loop: the places where a compiler
// would keep the first answer.
[[gnu::noinline]] bool worker_is_current() {
  const bool before = sched::this_worker()->tid.load() == kernel_thread();
  hog_and_wait();
  const bool after = sched::this_worker()->tid.load() == kernel_thread();
  return before && after;
}

TEST_P(migration, the_worker_is_looked_up_anew_after_every_wait) {
  run([&] { until_migrated([] { ASSERT_TRUE(worker_is_current()); }); });
}

TEST_P(migration, the_current_fiber_is_the_same_wherever_it_runs) {
  run([&] {
    auto* const self = sched::current_fiber();
    const auto id = this_fiber::get_id();
    until_migrated([&] {
      hog_and_wait();
      ASSERT_EQ(sched::current_fiber(), self);
      ASSERT_EQ(this_fiber::get_id(), id);
    });
  });
}

// Each has its own function, which the compiler cannot look into: what errno's location is, it asks the
// thread again.
[[gnu::noinline]] void set_errno(int value) {
  errno = value;
  asm volatile("" ::: "memory");
}

TEST_P(migration, errno_belongs_to_the_fiber) {
  run([&] {
    wait_group all(3);
    std::atomic<bool> enough{false};
    for (int f = 1; f <= 3; ++f) {
      go([&, f] {
        while (!enough) {
          set_errno(f);
          hog_and_wait();
          EXPECT_EQ(os::error_number(), f);
        }
        all.done();
      });
    }
    until_migrated([] {
      set_errno(77);
      hog_and_wait();
      ASSERT_EQ(os::error_number(), 77);
    });
    enough = true;
    all.wait();
  });
}

// The loop of every socket operation: a system call, its errno, a wait.
[[gnu::noinline]] int failures_of_a_loop(int rounds) {
  int wrong = 0;
  for (int i = 0; i < rounds; ++i) {
    const bool bad = i % 2;
    if (::read(bad ? -1 : STDIN_FILENO, nullptr, bad ? 1 : 0) < 0) wrong += os::error_number() != EBADF;
    set_errno(0);
    hog_and_wait();
  }
  return wrong;
}

TEST_P(migration, a_loop_of_system_calls_reads_the_errno_of_the_thread_it_is_on) {
  run([&] { until_migrated([] { ASSERT_EQ(failures_of_a_loop(4), 0); }); });
}

// Readers that migrate between attempts must not take another thread's errno for their own: EAGAIN is no
// failure.
TEST_P(migration, sockets_keep_their_errors_apart) {
  run([&] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    auto client = net::tcp_stream::connect("127.0.0.1:" + std::to_string(listener.local_port()));
    auto server = listener.accept();
    constexpr int count = slow_build ? 200 : 2000;
    fiber writer = spawn([&] {
      std::byte b{42};
      for (int i = 0; i < count; ++i) {
        client.write_all(std::span(&b, 1));
        if (i % 4 == 0) hog_and_wait();
      }
    });
    fiber disturber = spawn([] {
      while (!this_fiber::stop_requested()) {
        ::close(-1);  // EBADF in whichever thread it is on.
        try {
          hog_and_wait();
        } catch (const cancelled&) {
          return;
        }
      }
    });
    for (int i = 0; i < count; ++i) {
      std::byte b{0};
      std::error_code error;
      ASSERT_EQ(server.read_some(std::span(&b, 1), error), 1u) << error.message();
      ASSERT_EQ(b, std::byte{42});
    }
    writer.join();
  });
}

// An exception in flight, caught, waited in, and thrown on.
TEST_P(migration, exceptions_being_handled_come_along) {
  run([&] {
    until_migrated([] {
      try {
        try {
          throw 1;
        } catch (int) {
          hog_and_wait();
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          throw;
        }
      } catch (int value) {
        hog_and_wait();
        ASSERT_EQ(value, 1);
        ASSERT_TRUE(std::current_exception());
      }
    });
  });
}

}  // namespace
}  // namespace thrum::stress
