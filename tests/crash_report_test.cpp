// Overflows, exceptions that nobody receives, and dumps: the exact words, in child processes.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include <unistd.h>

#include "base/rng.hpp"
#include "context/sanitizer.hpp"
#include "crash_support.hpp"
#include "io/epoll_poller.hpp"
#include "os/clock.hpp"
#include "sched/scheduler.hpp"

namespace {
thread_local bool allocation_is_fatal = false;
}

// The C++ runtime and the demangler allocate through these in the end; a program may bring its own.
#if !defined(THRUM_ASAN) && !defined(THRUM_TSAN)
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* __libc_realloc(void* p, std::size_t size);
extern "C" void* malloc(std::size_t size) noexcept {
  if (allocation_is_fatal) ::_exit(99);
  return __libc_malloc(size);
}
extern "C" void* realloc(void* p, std::size_t size) noexcept {
  if (allocation_is_fatal) ::_exit(99);
  return __libc_realloc(p, size);
}
#endif

namespace thrum {
namespace crash_report_test {

using namespace test;

// Uses a good kibibyte of stack per level.
[[gnu::noinline]] int recurse_for_ever(int depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : recurse_for_ever(depth + 1) + frame[0];
}
[[gnu::noinline]] void throw_boom() { throw std::runtime_error("boom"); }
[[gnu::noinline]] void wait_in_vain(channel<int>& ch) {
  (void)ch.receive();
  asm volatile("" ::: "memory");  // No tail call: the stack is to show us.
}

namespace {

const scenario overflow("overflow", [] {
  run({.workers = 2}, [] {
    fiber f = spawn({.name = "deep", .stack_size = 64 * 1024}, [] { (void)recurse_for_ever(0); });
    f.join();
  });
});
TEST(report, a_stack_overflow_names_the_fiber_its_size_and_its_stack) {
  const auto d = run_scenario(overflow);
  EXPECT_EQ(how(d), -SIGABRT) << d.errors;
  EXPECT_TRUE(says(d, "^thrum: fatal: stack overflow: " + fiber_pattern("deep") +
                          " has used up its stack of 64 KiB\n    #0 [^\n]*recurse_for_ever[^\n]*\n"
                          "    #1 [^\n]*recurse_for_ever[^\n]*\n"))
      << d.errors;
}

const scenario overflow_default("overflow_default", [] { run({.workers = 1}, [] { (void)recurse_for_ever(0); }); });
TEST(report, an_overflow_of_the_main_fiber_too) {
  EXPECT_ABORTS(overflow_default,
                "^thrum: fatal: stack overflow: " + fiber_pattern() + " has used up its stack of 256 KiB\n");
}

// The report must not need the allocator's lock, which the overflowing code may hold.
const scenario overflow_in_malloc("overflow_in_malloc", [] {
  run({.workers = 1}, [] {
    allocation_is_fatal = true;
    (void)recurse_for_ever(0);
  });
});
TEST(report, an_overflow_is_reported_without_memory) {
#if defined(THRUM_ASAN) || defined(THRUM_TSAN)
  GTEST_SKIP() << "sanitizers bring an allocator of their own: ours, which tells of its use, is not linked";
#endif
  EXPECT_ABORTS(overflow_in_malloc, "^thrum: fatal: stack overflow: " + fiber_pattern() +
                                        " has used up its stack of 256 KiB\n    #0 [^\n]*recurse_for_ever");
}

// A scheduler without guard pages, as on a machine where vm.max_map_count is used up.
class unguarded_seams final : public sched::seams, sched::clock_source {
 public:
  sched::clock_source& clock() override { return *this; }
  std::int64_t now_ns() noexcept override { return os::now_ns(); }
  std::unique_ptr<sched::random_source> make_random(unsigned) override {
    return std::make_unique<sched::seeded_source>(base::rng());
  }
  std::unique_ptr<sched::poller> make_poller() override { return io::make_epoll_poller(); }
};

const scenario overflow_unguarded("overflow_unguarded", [] {
  sched::scheduler s({.stack_size = 16 * 1024, .guards = context::guard_mode::none},
                     std::make_unique<unguarded_seams>());
  const auto deep = [] {
    volatile char frame[16 * 1024];  // Reaches into the next stack, where no page stops it.
    for (auto& c : frame) c = 1;
    this_fiber::sleep_for(1ms);
  };
  detail::launch(&s, {.name = "deep"}, deep, std::source_location::current(), true);
  std::this_thread::sleep_for(hang_guard);
});
TEST(report, an_overflow_without_a_guard_page_is_found_at_the_next_switch) {
#if defined(THRUM_ASAN)
  GTEST_SKIP() << "AddressSanitizer reports the overflow where it happens";
#endif
  EXPECT_ABORTS(overflow_unguarded,
                "thrum: fatal: stack overflow: " + fiber_pattern("deep") + " has used up its stack of 16 KiB\n");
}

const scenario uncaught("uncaught", [] {
  run({.workers = 2}, [] {
    go({.name = "thrower"}, [] { throw_boom(); });
    this_fiber::sleep_for(24h);
  });
});
TEST(report, an_exception_that_leaves_a_go_fiber) {
  const auto d = run_scenario(uncaught);
  EXPECT_EQ(how(d), -SIGABRT) << d.errors;
  EXPECT_TRUE(says(d, "^thrum: fatal: uncaught exception in " + fiber_pattern("thrower") + ": boom\n" + stack_pattern))
      << d.errors;
  EXPECT_TRUE(says(d, "    #[0-9]+ [^\n]*throw_boom[^\n]*\n")) << "the stack is that of the throw\n" << d.errors;
}

const scenario uncaught_int("uncaught_int", [] {
  run({.workers = 1}, [] {
    go([] { throw 42; });
    this_fiber::sleep_for(24h);
  });
});
TEST(report, an_exception_that_is_no_std_exception) {
  EXPECT_ABORTS(uncaught_int, "^thrum: fatal: uncaught exception in " + fiber_pattern() + "\n" + stack_pattern);
}

const scenario uncaught_detached("uncaught_detached", [] {
  run({.workers = 1}, [] {
    fiber f = spawn({.name = "let_go"}, [] {
      this_fiber::sleep_for(5ms);
      throw_boom();
    });
    f.detach();
    this_fiber::sleep_for(24h);
  });
});
TEST(report, an_exception_that_leaves_a_detached_fiber) {
  EXPECT_ABORTS(uncaught_detached, "^thrum: fatal: uncaught exception in " + fiber_pattern("let_go") + ": boom\n");
}

void park_some() {
  static channel<int> ch(0);
  static mutex m;
  go({.name = "receiver"}, [] { wait_in_vain(ch); });
  go({.name = "holder"}, [] {
    m.lock();
    this_fiber::sleep_for(24h);
  });
  until_the_others_wait();
  go({.name = "locker"}, [] { m.lock(); });
  until_the_others_wait();
}

void expect_dump(const death& d) {
  EXPECT_EQ(how(d), 7) << d.errors;
  EXPECT_TRUE(says(d, "descriptors are waited for by (epoll|io_uring), (the automatic choice|asked for by )"))
      << d.errors;
  EXPECT_TRUE(says(d, fiber_pattern("receiver") + " waits for receiving from a channel 0x[0-9a-f]+\n    #0 "))
      << d.errors;
  EXPECT_TRUE(says(d, "    #[0-9]+ [^\n]*wait_in_vain[^\n]*\n")) << d.errors;
  EXPECT_TRUE(says(d, fiber_pattern("holder") + " waits for a sleep to end\n    #0 ")) << d.errors;
  EXPECT_TRUE(
      says(d, fiber_pattern("locker") + " waits for a mutex 0x[0-9a-f]+, held by fiber [0-9]+ \"holder\"\n    #0 "))
      << d.errors;
}

const scenario quit("quit", [] {
  const auto finish = [] {
    park_some();
    ::kill(::getpid(), SIGQUIT);
    this_fiber::sleep_for(300ms);
    ::kill(::getpid(), SIGQUIT);  // It goes on, and can do so again.
    this_fiber::sleep_for(300ms);
    ::_exit(7);
  };
  run({.workers = 2}, finish);
});
TEST(report, sigquit_lists_every_fiber_and_the_program_goes_on) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer holds signals back while a thread sleeps on a futex";
  const auto d = run_scenario(quit);
  expect_dump(d);
  const auto first = d.errors.find("\"receiver\"");
  EXPECT_NE(d.errors.find("\"receiver\"", first + 1), std::string::npos) << "the second dump is missing\n" << d.errors;
}

const scenario dump("dump", [] {
  runtime rt({.workers = 2});
  rt.run([&] {
    park_some();
    rt.dump();
    go({.name = "fresh"}, [] {});
    ::_exit(7);
  });
});
TEST(report, dump_lists_the_same) { expect_dump(run_scenario(dump)); }

const scenario dump_labels("dump_labels", [] {
  runtime rt({.workers = 2});
  rt.run([&] {
    static channel<int> ch(0);
    const label request("request", "4711");
    go({.name = "labelled"}, [] {
      const label tenant("tenant", "acme");
      const this_fiber::pin stay;
      wait_in_vain(ch);
    });
    go([]() -> task<> { co_await ch.async_receive(); });
    until_the_others_wait();
    rt.dump();
    go({.name = "thrower"}, [] { throw_boom(); });
    this_fiber::sleep_for(24h);
  });
});
TEST(report, labels_and_pins_are_shown) {
  const auto d = run_scenario(dump_labels);
  EXPECT_EQ(how(d), -SIGABRT) << d.errors;
  EXPECT_TRUE(
      says(d,
           "fiber [0-9]+ \"labelled\" \\{tenant=acme, request=4711\\} \\(spawned at [^\n]*\\), pinned to thread "
           "[0-9]+, waits for receiving from a channel"))
      << d.errors;
  EXPECT_TRUE(says(d, "task [0-9]+ \\{request=4711\\} \\(spawned at [^\n]*\\) waits for receiving from a channel"))
      << d.errors;
  EXPECT_TRUE(says(d, "uncaught exception in fiber [0-9]+ \"thrower\" \\{request=4711\\} \\(spawned")) << d.errors;
}

const scenario dump_under_load("dump_under_load", [] {
  runtime rt({.workers = 2});
  rt.run([&] {
    scope s;
    channel<int> ch(0);
    std::atomic<bool> end{false};
    for (int i = 0; i < 8; ++i) {
      s.go([&] {
        while (!end) ch.send(1);
      });
      s.go([&] {
        while (!end) (void)ch.receive_for(1ms);
      });
    }
    for (int i = 0; i < 20; ++i) {
      rt.dump();
      this_fiber::yield();
    }
    end = true;
    s.cancel();
    s.join();
  });
});
TEST(report, a_dump_loses_no_wake_up) { EXPECT_EQ(how(run_scenario(dump_under_load)), 0); }

std::atomic<int> quits{0};
const scenario own_quit("own_quit", [] {
  struct sigaction mine {};
  mine.sa_handler = [](int) { ++quits; };
  ::sigaction(SIGQUIT, &mine, nullptr);
  run({.workers = 1}, [] {
    ::kill(::getpid(), SIGQUIT);
    if (!eventually([] { return quits == 1; })) ::_exit(1);
  });
  ::kill(::getpid(), SIGQUIT);
  std::exit(eventually([] { return quits == 2; }) ? 7 : 1);
});
TEST(report, a_program_s_own_sigquit_handler_stays) {
  const auto d = run_scenario(own_quit);
  EXPECT_EQ(how(d), 7);
  EXPECT_EQ(d.errors, "");
}

const scenario quit_afterwards("quit_afterwards", [] {
  run({.workers = 1}, [] {});
  ::kill(::getpid(), SIGQUIT);  // Nobody serves it any more: the default action.
  std::this_thread::sleep_for(hang_guard);
});
TEST(report, handlers_are_removed_with_the_last_runtime) { EXPECT_EQ(how(run_scenario(quit_afterwards)), -SIGQUIT); }

void write_to_nowhere() {
  std::uintptr_t nowhere = 64;  // Not null, which UndefinedBehaviorSanitizer would report first.
  asm volatile("" : "+r"(nowhere));
  *reinterpret_cast<volatile int*>(nowhere) = 1;
}

const scenario own_segv("own_segv", [] {
  struct sigaction mine {};
  mine.sa_handler = [](int) { ::_exit(9); };
  ::sigaction(SIGSEGV, &mine, nullptr);
  run({.workers = 1}, [] { write_to_nowhere(); });
});
TEST(report, faults_that_are_no_overflow_reach_the_handler_before_ours) { EXPECT_EQ(how(run_scenario(own_segv)), 9); }

const scenario plain_segv("plain_segv", [] { run({.workers = 1}, [] { write_to_nowhere(); }); });
TEST(report, faults_that_are_no_overflow_end_the_process_as_usual) {
#if defined(THRUM_ASAN) || defined(THRUM_TSAN)
  GTEST_SKIP() << "sanitizers handle the signal themselves, with a report of their own";
#endif
  const auto d = run_scenario(plain_segv);
  EXPECT_EQ(how(d), -SIGSEGV);
  EXPECT_EQ(d.errors, "");
}

}  // namespace
}  // namespace crash_report_test
}  // namespace thrum
