// The kernel has no more threads for us (RLIMIT_NPROC, a control group's limit): each place that starts one says so, or
// goes on without, loses nothing, and has its thread once there are some again.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <system_error>

#include <thrum/thrum.hpp>

#include "os/thread.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class thread_shortage : public ::testing::Test {
 protected:
  ~thread_shortage() override { os::limit_threads(-1); }
};

template <class F>
void expect_no_thread(F f) {
  try {
    f();
    ADD_FAILURE() << "there was a thread";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::resource_unavailable_try_again) << e.what();
  }
}

TEST_F(thread_shortage, a_runtime_that_cannot_be_made_leaves_nothing) {
  { runtime first({.workers = 1}); }  // ThreadSanitizer starts a thread of its own beside the first.
  const auto descriptors = open_descriptors();
  const auto threads = os::thread_count();
  for (int allowed = 0; allowed < 4; ++allowed) {  // Three workers and the monitor.
    os::limit_threads(allowed);
    expect_no_thread([] { runtime rt({.workers = 3}); });
    EXPECT_TRUE(eventually([&] { return os::thread_count() <= threads; })) << allowed;
    EXPECT_TRUE(eventually([&] { return open_descriptors() <= descriptors; })) << allowed;
  }
  os::limit_threads(4);
  runtime rt({.workers = 3});
  std::atomic<int> ran{0};
  rt.run([&] {
    scope s;
    for (int i = 0; i < 100; ++i) s.go([&] { ++ran; });
    s.join();
  });
  EXPECT_EQ(ran, 100);
}

// The processor stays where it is, and changes hands as soon as there is a thread for it.
TEST_F(thread_shortage, hogs_keep_their_processor_until_there_is_a_thread) {
  with_runtime({.workers = 1}, [](runtime& rt) {
    os::limit_threads(0);
    std::atomic<bool> over{false}, ran{false};
    std::thread outside([&] {
      std::this_thread::sleep_for(50ms);
      rt.go([&] { ran = true; });
      std::this_thread::sleep_for(50ms);
      EXPECT_FALSE(ran);
      os::limit_threads(-1);
      EXPECT_TRUE(eventually([&] { return ran.load(); }));
      over = true;
    });
    scope s;
    for (int i = 0; i < 8; ++i)  // More than there are threads.
      s.go([&] {
        while (!over) {
        }
      });
    s.join();
    outside.join();
  });
}

TEST_F(thread_shortage, an_offloaded_call_is_refused_when_the_pool_has_no_thread) {
  with_runtime({.workers = 2}, [](runtime&) {
    os::limit_threads(0);
    bool called = false;
    expect_no_thread([&] { blocking([&] { called = true; }); });
    EXPECT_FALSE(called);
    const auto in_task = [&]() -> task<> { co_await async_blocking([&] { called = true; }); };
    auto t = spawn(in_task());
    expect_no_thread([&] { t.join(); });
    EXPECT_FALSE(called);
    os::limit_threads(-1);
    EXPECT_EQ(blocking([] { return 7; }), 7);
  });
}

TEST_F(thread_shortage, offloaded_calls_make_do_with_the_threads_that_there_are) {
  with_runtime({.workers = 2}, [](runtime&) {
    blocking([] {});
    os::limit_threads(0);  // The pool has one. (The runtime wants one now and then as well.)
    std::atomic<int> calls{0};
    scope s;
    for (int i = 0; i < 50; ++i)
      s.go([&] {
        blocking([&] {
          std::this_thread::sleep_for(100us);
          ++calls;
        });
      });
    s.join();
    EXPECT_EQ(calls, 50);
  });
}

TEST_F(thread_shortage, a_set_of_signals_is_refused) {
  os::limit_threads(0);
  std::error_code error;
  {
    signal_set refused({SIGUSR1}, error);
    EXPECT_EQ(error, std::errc::resource_unavailable_try_again);
    EXPECT_EQ(refused.try_receive(), std::nullopt);
  }
  os::limit_threads(-1);
  signal_set s{SIGUSR1};
  ::raise(SIGUSR1);
  EXPECT_EQ(s.receive_for(hang_guard), SIGUSR1);
}

// Nobody reaps it at once, then whoever reaps the next one.
TEST_F(thread_shortage, a_child_that_is_left_is_reaped_with_the_next) {
  with_runtime({.workers = 2}, [](runtime&) {
    const auto leave_one = [] {
      auto p = process::spawn({"sleep", "1000"});
      return p.id();
    };
    const auto exists = [](int pid) { return ::kill(pid, 0) == 0; };
    os::limit_threads(0);
    const auto first = leave_one();
    this_fiber::sleep_for(20ms);
    os::limit_threads(-1);
    const auto second = leave_one();
    EXPECT_TRUE(eventually([&] { return !exists(first) && !exists(second); }));
  });
}

}  // namespace
}  // namespace thrum
