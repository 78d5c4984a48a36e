// Children: how they are started, what they get, how they end and how one waits for that; none is left behind. For
// fibers, tasks and plain threads.
#include <thrum/process.hpp>

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using words = std::vector<std::string>;

// GCC 12 compiles no braced lists in coroutines that wait for a call with one.
words sleeper() { return {"sleep", "1000"}; }

words shell(const std::string& script) { return {"sh", "-c", script}; }

auto as_bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string all_of(pipe_reader& r) {
  std::string all, part(4096, '\0');
  while (const auto n = r.read_some(std::as_writable_bytes(std::span(part)))) all.append(part, 0, n);
  return all;
}

// The state letter of a process; '-' when there is none of that number.
char state_of(int id) {
  std::ifstream stat("/proc/" + std::to_string(id) + "/stat");
  std::string line;
  std::getline(stat, line);
  const auto end = line.rfind(')');
  return end == std::string::npos || end + 2 >= line.size() ? '-' : line[end + 2];
}
bool gone(int id) { return state_of(id) == '-'; }

bool has_children() {
  siginfo_t info;
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

class process_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, process_test, worker_counts, count_name);

TEST_P(process_test, tells_what_the_child_returned) {
  run([] {
    auto p = process::spawn(shell("exit 7"));
    EXPECT_GT(p.id(), 0);
    const auto s = p.wait();
    EXPECT_TRUE(s.exited());
    EXPECT_EQ(s.code(), 7);
    EXPECT_FALSE(s.success());
    EXPECT_EQ(p.wait(), s);  // Kept.
    EXPECT_TRUE(process::spawn({"true"}).wait().success());
  });
}

TEST_P(process_test, tells_which_signal_ended_it) {
  run([] {
    auto p = process::spawn({"sleep", "1000"});
    p.kill(SIGUSR1);
    const auto s = p.wait();
    EXPECT_TRUE(s.signaled());
    EXPECT_EQ(s.signal_number(), SIGUSR1);
    EXPECT_EQ(s.code(), -1);
    std::error_code error;
    p.kill(SIGTERM, error);
    EXPECT_EQ(error, std::errc::no_such_process);
  });
}

TEST_P(process_test, streams_are_pipes_where_one_wants_them) {
  run([] {
    auto p = process::spawn(shell("cat; echo problem >&2"),
                            {.in = redirect::pipe(), .out = redirect::pipe(), .err = redirect::pipe()});
    p.in.write_all(as_bytes_of("hello"));
    p.in.close();
    EXPECT_EQ(all_of(p.out), "hello");
    EXPECT_EQ(all_of(p.err), "problem\n");
    EXPECT_TRUE(p.wait().success());
  });
}

TEST_P(process_test, streams_go_to_null_or_a_descriptor_or_together) {
  run([] {
    auto [reader, writer] = make_pipe();
    auto p = process::spawn(
        shell("cat; echo one; echo two >&2"),
        {.in = redirect::null(), .out = redirect::to(writer.native_handle()), .err = redirect::output()});
    writer.close();
    EXPECT_EQ(all_of(reader), "one\ntwo\n");
    EXPECT_TRUE(p.wait().success());
    std::error_code error;
    (void)process::spawn({"true"}, {.in = redirect::to(-1)}, error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    (void)process::spawn({"true"}, {.in = redirect::output()}, error);
    EXPECT_EQ(error, std::errc::invalid_argument);
  });
}

TEST_P(process_test, a_child_gets_our_ends_of_pipes_in_blocking_mode) {
  run([] {
    auto between = make_pipe();
    auto second =
        process::spawn({"cat"}, {.in = redirect::to(between.reader.native_handle()), .out = redirect::pipe()});
    auto first = process::spawn(shell("sleep 0.05; echo late"), {.out = redirect::to(between.writer.native_handle())});
    EXPECT_NE(::fcntl(between.reader.native_handle(), F_GETFL) & O_NONBLOCK, 0);
    between = {};
    EXPECT_EQ(all_of(second.out), "late\n");
    EXPECT_TRUE(first.wait().success() && second.wait().success());
  });
}

TEST_P(process_test, errors_of_exec_are_the_callers) {
  run([] {
    std::error_code error;
    auto p = process::spawn({"/no/such/program"}, {}, error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    EXPECT_FALSE(p.valid());
    (void)process::spawn({"/etc/passwd"}, {}, error);
    EXPECT_EQ(error, std::errc::permission_denied);
    (void)process::spawn({"true"}, {.directory = "/no/such/directory"}, error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    (void)process::spawn({}, {}, error);
    EXPECT_EQ(error, std::errc::invalid_argument);
    EXPECT_THROW((void)process::spawn({"/no/such/program"}), std::system_error);
    EXPECT_THROW(process().wait(), std::system_error);
  });
  EXPECT_FALSE(has_children());
}

TEST_P(process_test, it_gets_its_directory_and_environment) {
  run([] {
    auto r = run_process(shell("pwd; echo $GREETING; echo $HOME"), {}, {},
                         {.directory = "/", .environment = words{"GREETING=hello", "PATH=/usr/bin:/bin"}});
    EXPECT_EQ(r.output, "/\nhello\n\n");
  });
}

// Workers block signals; a child must not.
TEST_P(process_test, its_signals_are_as_in_any_program) {
  run([] {
    auto r = run_process({"cat", "/proc/self/status"});
    const auto line = [&](const std::string& name) {
      const auto at = r.output.find(name);
      return r.output.substr(at, r.output.find('\n', at) - at);
    };
    EXPECT_EQ(line("SigBlk:").substr(7), "\t0000000000000000");
    const auto ignored = std::stoull(line("SigIgn:").substr(8), nullptr, 16);
    EXPECT_EQ(ignored & (1ull << (SIGPIPE - 1)), 0u);
  });
}

TEST_P(process_test, it_inherits_none_of_our_descriptors) {
  run([] {
    // The program that runs the tests may leave them some.
    const auto before = run_process(shell("ls /proc/$$/fd")).output;
    auto ends = make_pipe();
    auto bystander = process::spawn({"sleep", "1000"}, {.in = redirect::pipe()});
    EXPECT_EQ(run_process(shell("ls /proc/$$/fd")).output, before);
  });
}

TEST_P(process_test, a_wait_ends_when_its_time_is_up) {
  run([] {
    auto p = process::spawn({"sleep", "1000"});
    EXPECT_EQ(p.wait_for(1ms), std::nullopt);
    EXPECT_EQ(p.wait_until(clock::now()), std::nullopt);
    p.kill(SIGKILL);
    EXPECT_EQ(p.wait_for(hang_guard)->signal_number(), SIGKILL);
    EXPECT_EQ(p.wait_for(0s)->signal_number(), SIGKILL);
  });
}

TEST_P(process_test, several_wait_for_one) {
  run([] {
    auto p = process::spawn({"sleep", "1000"});
    std::atomic<int> told{0};
    scope s;
    for (int i = 0; i < 8; ++i) s.go([&] { told += p.wait().signal_number() == SIGKILL; });
    settle();
    p.kill(SIGKILL);
    s.join();
    EXPECT_EQ(told, 8);
  });
}

TEST_P(process_test, tasks_wait_likewise) {
  run([] {
    const auto body = []() -> task<> {
      auto p = process::spawn(sleeper());
      auto none = co_await p.async_wait_for(1ms);
      EXPECT_EQ(none, std::nullopt);
      std::error_code error;
      none = co_await p.async_wait_until(clock::now(), error);
      EXPECT_EQ(none, std::nullopt);
      EXPECT_FALSE(error);
      p.kill(SIGKILL);
      const auto s = co_await p.async_wait();
      EXPECT_EQ(s.signal_number(), SIGKILL);
      const run_limits limits{.timeout = hang_guard};
      auto r = co_await async_run_process(words(1, "sort"), "b\na\n", limits);
      EXPECT_EQ(r.output, "a\nb\n");
      EXPECT_TRUE(r.status.success());
      process_options grouped;
      grouped.new_group = true;
      auto stubborn = process::spawn(shell("trap '' TERM; while :; do sleep 1000; done"), grouped);
      const auto ended = co_await stubborn.async_terminate(5ms);
      EXPECT_TRUE(ended.signaled());
      (void)co_await async_run_process(words(1, "/no/such/program"), std::string(), limits, process_options(), error);
      EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    };
    spawn(body()).join();
  });
}

TEST_P(process_test, cancellation_ends_every_wait) {
  run([] {
    auto p = process::spawn({"sleep", "1000"});
    const std::vector<std::function<void()>> calls{
        [&] { p.wait(); },
        [&] { p.wait_for(1000s); },
        [&] {
          run_process({"sleep", "1000"});
        },
        [&] { p.terminate(1000s); },
    };
    for (const auto& call : calls) {
      bool was_cancelled = false;
      if (&call == &calls.back()) {  // One that SIGTERM does not impress.
        p = process::spawn(shell("trap '' TERM; echo; while :; do sleep 1000; done"),
                           {.out = redirect::pipe(), .new_group = true});
        p.out.wait_readable();
      }
      fiber f = spawn([&] {
        try {
          call();
        } catch (const cancelled&) {
          was_cancelled = true;
        }
      });
      settle();
      f.request_stop();
      f.join();
      EXPECT_TRUE(was_cancelled);
    }
    EXPECT_EQ(p.wait().signal_number(), SIGKILL);  // The cancelled terminate() has killed it.
  });
}

TEST_P(process_test, cancellation_ends_every_wait_of_a_task) {
  run([] {
    auto p = process::spawn(sleeper());
    auto stubborn = process::spawn(shell("trap '' TERM; echo; while :; do sleep 1000; done"),
                                   {.out = redirect::pipe(), .new_group = true});
    stubborn.out.wait_readable();
    const std::vector<std::function<task<>()>> calls{
        [&]() -> task<> { co_await p.async_wait(); },
        [&]() -> task<> { co_await p.async_wait_for(1000s); },
        [&]() -> task<> { co_await async_run_process(sleeper()); },
    };
    for (const auto& call : calls) {
      bool was_cancelled = false;
      const auto catching = [&]() -> task<> {
        try {
          co_await call();
        } catch (const cancelled&) {
          was_cancelled = true;
        }
      };
      auto t = spawn(catching());
      settle();
      t.request_stop();
      t.join();
      EXPECT_TRUE(was_cancelled);
    }
    p.kill(SIGTERM);
    EXPECT_EQ(p.wait().signal_number(), SIGTERM);
  });
}

TEST_P(process_test, select_waits_for_its_end) {
  run([] {
    auto p = process::spawn({"sleep", "1000"});
    int which = 0;
    select(p.on_exit([&] { which = 1; }), otherwise([&] { which = 2; }));
    EXPECT_EQ(which, 2);
    p.kill(SIGTERM);
    channel<int> never(0);
    select(p.on_exit([&] { which = 1; }), never.on_receive([](auto) {}));
    EXPECT_EQ(which, 1);
    EXPECT_EQ(p.wait_for(0s)->signal_number(), SIGTERM);
  });
}

TEST_P(process_test, one_that_is_dropped_is_killed_and_no_zombie) {
  int dropped = 0, ended = 0;
  run([&] {
    dropped = process::spawn({"sleep", "1000"}).id();
    auto p = process::spawn({"true"});
    ended = p.id();
    p = process();
  });
  EXPECT_TRUE(eventually([&] { return gone(dropped) && gone(ended); }));
  EXPECT_TRUE(eventually([] { return !has_children(); }));
}

TEST_P(process_test, one_that_is_detached_runs_on_and_is_reaped) {
  run([] {
    auto p = process::spawn({"cat"}, {.in = redirect::pipe()});
    const int id = p.id();
    auto in = std::move(p.in);
    p.detach();
    EXPECT_FALSE(p.valid());
    settle();
    EXPECT_FALSE(gone(id));
    in.close();
    EXPECT_TRUE(eventually([&] { return gone(id); }));
  });
}

TEST_P(process_test, a_group_ends_together) {
  run([] {
    auto p = process::spawn(shell("sleep 1000 & echo $!; wait"), {.out = redirect::pipe(), .new_group = true});
    std::array<char, 32> line{};
    p.out.read_some(std::as_writable_bytes(std::span(line)));
    const int grandchild = std::stoi(line.data());
    EXPECT_FALSE(gone(grandchild));
    p.kill_group(SIGTERM);
    EXPECT_EQ(p.wait().signal_number(), SIGTERM);
    EXPECT_EQ(all_of(p.out), "");  // Nobody has it open any more.
    std::error_code error;
    p.kill_group(SIGTERM, error);
    EXPECT_EQ(error, std::errc::no_such_process);
    auto alone = process::spawn({"sleep", "1000"});
    alone.kill_group(SIGTERM, error);
    EXPECT_EQ(error, std::errc::invalid_argument);
  });
}

TEST_P(process_test, terminate_asks_first) {
  run([] {
    auto polite = process::spawn(shell("trap 'exit 3' TERM; echo; while :; do sleep 0.01; done"),
                                 {.out = redirect::pipe(), .new_group = true});
    polite.out.wait_readable();
    EXPECT_TRUE(polite.terminate(hang_guard).exited());
    auto stubborn = process::spawn(shell("trap '' TERM; echo; while :; do sleep 0.01; done"),
                                   {.out = redirect::pipe(), .new_group = true});
    stubborn.out.wait_readable();
    EXPECT_EQ(stubborn.terminate(2ms).signal_number(), SIGKILL);
  });
}

TEST_P(process_test, running_one_serves_all_streams_at_once) {
  run([] {
    const std::string much(1 << 20, 'x');
    auto r = run_process(shell("tee /dev/stderr"), much);
    EXPECT_TRUE(r.status.success());
    EXPECT_EQ(r.output.size(), much.size());
    EXPECT_EQ(r.errors.size(), much.size());
    r = run_process(shell("exec <&-; echo done"), much);  // One that reads nothing.
    EXPECT_EQ(r.output, "done\n");
    r = run_process(shell("echo one; echo two >&2"), {}, {}, {.err = redirect::output()});
    EXPECT_EQ(r.output, "one\ntwo\n");
  });
}

// Nor is any other fiber that selects a descriptor and nothing else.
TEST_P(process_test, running_one_that_is_silent_for_long_is_no_deadlock) {
  run([] {
    std::error_code error;
    const auto r = run_process(shell("sleep 0.4; echo late"), {}, {}, {}, error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(r.output, "late\n");
  });
}

TEST_P(process_test, running_one_keeps_to_its_limits) {
  run([] {
    std::error_code error;
    auto r = run_process(shell("echo begun; sleep 1000"), {}, {.timeout = 300ms}, {}, error);
    EXPECT_EQ(error, std::errc::timed_out);
    r = run_process(shell("exec >&- 2>&-; sleep 1000"), {}, {.timeout = 50ms}, {}, error);
    EXPECT_EQ(error, std::errc::timed_out);
    r = run_process({"yes"}, {}, {.output_max = 1000}, {}, error);
    EXPECT_EQ(error, std::errc::no_buffer_space);
    EXPECT_EQ(r.output.size(), 1000u);
    EXPECT_THROW(run_process({"sleep", "1000"}, {}, {.timeout = 1ms}), std::system_error);
  });
  EXPECT_TRUE(eventually([] { return !has_children(); }));
}

// A child is an event from outside: nothing is proved while somebody waits for one.
TEST_P(process_test, waiting_for_a_child_is_no_deadlock) {
  run([] { EXPECT_TRUE(process::spawn({"sleep", "0.5"}).wait().success()); });
}

TEST(process_on_a_thread, everything_works_too) {
  auto p = process::spawn({"sleep", "1000"}, {.new_group = true});
  EXPECT_EQ(p.wait_for(1ms), std::nullopt);
  EXPECT_EQ(p.terminate(hang_guard).signal_number(), SIGTERM);
  const std::string much(1 << 20, 'x');
  EXPECT_EQ(run_process(shell("tee /dev/stderr"), much).errors.size(), much.size());
  std::error_code error;
  run_process({"sleep", "1000"}, {}, {.timeout = 5ms}, {}, error);
  EXPECT_EQ(error, std::errc::timed_out);
  { auto dropped = process::spawn({"sleep", "1000"}); }
  EXPECT_TRUE(eventually([] { return !has_children(); }));
}

TEST(process_in_a_simulation, is_refused) {
  if (under_tsan) GTEST_SKIP();
  sim::run({.seed = 1}, [] {
    std::error_code error;
    (void)process::spawn({"true"}, {}, error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
  });
}

}  // namespace
}  // namespace thrum
