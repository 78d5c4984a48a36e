// After fork() without exec the child's thrum calls end it with one sentence; exec and _exit work, and so
// does the parent.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash_support.hpp"

namespace thrum {
namespace {

using namespace test;

constexpr const char* sentence =
    "^thrum: fatal: a thrum call after fork\\(\\) without exec: the child has none of the runtime's "
    "threads\n";

// Whether all threads but this one are asleep in the kernel.
bool the_other_threads_sleep() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream stat(task.path() / "stat");
    std::string words;
    std::getline(stat, words);
    const bool asleep = words.find(") S ") != std::string::npos;
    if (!asleep && task.path().filename() != std::to_string(::gettid())) return false;
  }
  return true;
}

// Forks while no other thread is in the middle of something: the child of a sanitizer's build that needs memory would
// wait for ever for the allocator's lock, were another thread to hold it at that moment.
pid_t fork_in_peace() {
  EXPECT_TRUE(eventually(the_other_threads_sleep));
  return ::fork();
}

// Forks; the child runs the body and, if it survives, exits with 3. Returns how it ended, as how() tells it.
template <class F>
int forked(F body) {
  const pid_t child = fork_in_peace();
  if (child == 0) {
    body();
    ::_exit(3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return how({.status = status, .errors = {}});
}

// The scenario exits with 0 when every child was aborted and the parent goes on as if nothing had happened.
template <class F>
void all_abort_in_fiber(F body) {
  const bool ok = run({.workers = 2}, [&] {
    const bool aborted = forked(body) == -SIGABRT;
    fiber f = spawn([] { this_fiber::sleep_for(1ms); });
    f.join();
    return aborted;
  });
  std::exit(ok ? 0 : 1);
}

void expect_refused(const scenario& s) {
  const auto d = run_scenario(s);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_TRUE(says(d, sentence)) << d.errors;
}

#define THRUM_REFUSED_AFTER_FORK(name, ...)                                              \
  const scenario fork_##name("fork_" #name, [] { all_abort_in_fiber([] __VA_ARGS__); }); \
  TEST(fork, name##_is_refused_in_the_child) { expect_refused(fork_##name); }

THRUM_REFUSED_AFTER_FORK(go, { go([] {}); })
THRUM_REFUSED_AFTER_FORK(spawn, { (void)spawn([] {}); })
THRUM_REFUSED_AFTER_FORK(scope, { scope s; })
THRUM_REFUSED_AFTER_FORK(yield, { this_fiber::yield(); })
THRUM_REFUSED_AFTER_FORK(sleep, { this_fiber::sleep_for(1ms); })
THRUM_REFUSED_AFTER_FORK(wait, { wait_group(1).wait(); })
THRUM_REFUSED_AFTER_FORK(lock, {
  mutex m;
  m.lock();
})
THRUM_REFUSED_AFTER_FORK(send, { channel<int>(1).send(1); })
THRUM_REFUSED_AFTER_FORK(try_send, { (void)channel<int>(1).try_send(1); })
THRUM_REFUSED_AFTER_FORK(select, { select(channel<int>(1).on_receive([](auto) {}), otherwise([] {})); })
THRUM_REFUSED_AFTER_FORK(bind_and_accept, { net::tcp_listener::bind("127.0.0.1:0").accept(); })
THRUM_REFUSED_AFTER_FORK(another_runtime, { run([] {}); })
THRUM_REFUSED_AFTER_FORK(a_thread_of_the_child, {
  if (under_tsan) mutex().lock();  // ThreadSanitizer refuses new threads in such a child.
  std::thread t([] { mutex().lock(); });
  t.join();
})

const scenario fork_return("fork_return", [] {
  run({.workers = 2}, [] {
    fiber f = spawn([] {
      const pid_t child = fork_in_peace();
      if (child == 0) return;  // The child goes on into the runtime.
      int status = 0;
      ::waitpid(child, &status, 0);
      if (how({.status = status, .errors = {}}) != -SIGABRT) std::exit(1);
    });
    f.join();
  });
});
TEST(fork, the_end_of_the_fiber_is_refused_in_the_child) { expect_refused(fork_return); }

const scenario fork_names_the_fiber("fork_names_the_fiber", [] {
  run({.workers = 1}, [] {
    fiber f = spawn({.name = "forker"}, [] { (void)forked([] { this_fiber::yield(); }); });
    f.join();
  });
});
TEST(fork, the_report_names_the_fiber_that_has_forked) {
  const auto d = run_scenario(fork_names_the_fiber);
  EXPECT_TRUE(says(d, sentence + ("in " + fiber_pattern("forker") + "\n") + stack_pattern)) << d.errors;
}

const scenario fork_on_a_thread("fork_on_a_thread", [] {
  runtime rt({.workers = 2});
  const bool ok = forked([&] { rt.go([] {}); }) == -SIGABRT && forked([&] { rt.run([] {}); }) == -SIGABRT &&
                  forked([] { mutex().lock(); }) == -SIGABRT;
  rt.run([] {});
  std::exit(ok ? 0 : 1);
});
TEST(fork, calls_on_a_plain_thread_are_refused_in_the_child) { expect_refused(fork_on_a_thread); }

const scenario fork_destroys_the_runtime("fork_destroys_the_runtime", [] {
  auto* rt = new runtime({.workers = 1});
  const bool ok = forked([&] { delete rt; }) == -SIGABRT;
  delete rt;
  std::exit(ok ? 0 : 1);
});
TEST(fork, ending_the_runtime_is_refused_in_the_child) { expect_refused(fork_destroys_the_runtime); }

const scenario fork_exec("fork_exec", [] {
  const int ended = run({.workers = 2}, [] { return forked([] { ::execl("/bin/true", "true", nullptr); }); });
  std::exit(ended);
});
TEST(fork, exec_and_exit_work_in_the_child) {
  const auto d = run_scenario(fork_exec);
  EXPECT_EQ(how(d), 0) << d.errors;
  EXPECT_EQ(d.errors, "");
}

const scenario fork_mask("fork_mask", [] {
  const int ended = run({.workers = 2}, [] {
    return forked([] {
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      struct sigaction quit;
      ::sigaction(SIGQUIT, nullptr, &quit);
      const bool open = !sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGINT) && !sigismember(&mask, SIGQUIT);
      ::_exit(open && quit.sa_handler == SIG_DFL ? 0 : 4);
    });
  });
  std::exit(ended);
});
TEST(fork, the_child_gets_signals_as_the_program_would) { EXPECT_EQ(how(run_scenario(fork_mask)), 0); }

const scenario fork_before("fork_before", [] {
  run([] {});  // A runtime that has come and gone does not matter.
  std::exit(forked([] { ::_exit(run([] { return 5; })); }) == 5 ? 0 : 1);
});
TEST(fork, before_a_runtime_or_after_it_the_child_may_have_its_own) {
  const auto d = run_scenario(fork_before);
  EXPECT_EQ(how(d), 0) << d.errors;
}

}  // namespace
}  // namespace thrum
