// What pseudo_terminal.hpp promises, and process_options::terminal.
#include <thrum/process.hpp>
#include <thrum/pseudo_terminal.hpp>

#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class pseudo_terminal_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, pseudo_terminal_test, worker_counts, count_name);

// What is shown until nobody has it open any more.
std::string whole_screen(pseudo_terminal& t) {
  std::string all;
  std::array<char, 512> buffer;
  while (const auto n = t.read_some(room(buffer))) all.append(buffer.data(), n);
  return all;
}
std::string shown_until(pseudo_terminal& t, std::string_view what) {
  std::string all;
  std::array<char, 1> one;
  while (all.find(what) == all.npos && t.read_some(room(one)) != 0) all += one[0];
  return all;
}

process on(const pseudo_terminal& t, const std::string& command) {
  return process::spawn({"sh", "-c", command}, {.terminal = t.name()});
}

TEST_P(pseudo_terminal_test, a_program_runs_on_it_and_reads_what_is_typed) {
  run([] {
    auto t = pseudo_terminal::open();
    auto p = on(t, "tty; test -t 0 && test -t 2 && read line && echo \"got $line\"");
    EXPECT_EQ(shown_until(t, "\n"), t.name() + "\r\n");
    t.write_all(bytes("typed\n"));
    EXPECT_EQ(whole_screen(t), "typed\r\ngot typed\r\n") << "the echo comes first";
    EXPECT_TRUE(p.wait().success());
  });
}

TEST_P(pseudo_terminal_test, it_controls_the_program) {
  run([] {
    auto t = pseudo_terminal::open();
    auto p = on(t, "trap 'echo interrupted; exit 3' INT; echo ready; while :; do read line; done");
    shown_until(t, "ready\r\n");
    t.write_all(bytes("\x03"));  // Control-C.
    EXPECT_NE(whole_screen(t).find("interrupted"), std::string::npos);
    EXPECT_EQ(p.wait().code(), 3);
  });
}

TEST_P(pseudo_terminal_test, hanging_up_ends_the_program) {
  run([] {
    auto t = pseudo_terminal::open();
    auto p = on(t, "echo ready; while read line; do :; done; exit 4");
    shown_until(t, "ready");
    t.close();
    const auto status = p.wait();
    EXPECT_TRUE(status.signaled() || status.code() == 4);
  });
}

TEST_P(pseudo_terminal_test, it_has_a_size_that_programs_see) {
  run([] {
    auto t = pseudo_terminal::open({.rows = 33, .columns = 99});
    EXPECT_EQ(t.size(), (terminal_size{33, 99}));
    auto p = on(t, "stty size; read line; stty size");
    EXPECT_EQ(shown_until(t, "\n"), "33 99\r\n");
    t.resize({.rows = 10, .columns = 20});
    t.write_all(bytes("\n"));
    EXPECT_EQ(whole_screen(t), "\r\n10 20\r\n");
    EXPECT_TRUE(p.wait().success());
  });
}

TEST_P(pseudo_terminal_test, raw_it_changes_nothing) {
  run([] {
    auto t = pseudo_terminal::open();
    t.set_raw();
    auto p = on(t, "head -c 4");
    t.write_all(bytes("a\x03\nb"));
    EXPECT_EQ(whole_screen(t), "a\x03\nb");
    EXPECT_TRUE(p.wait().success());
  });
}

TEST_P(pseudo_terminal_test, a_stream_may_still_go_elsewhere) {
  run([] {
    auto t = pseudo_terminal::open();
    auto p = process::spawn({"sh", "-c", "echo out; echo err >&2"}, {.out = redirect::pipe(), .terminal = t.name()});
    std::array<char, 16> buffer;
    EXPECT_EQ(text(buffer, p.out.read_some(room(buffer))), "out\n");
    EXPECT_EQ(whole_screen(t), "err\r\n");
    p.wait();
  });
}

TEST_P(pseudo_terminal_test, tasks_use_it_too) {
  run([] {
    spawn([]() -> task<> {
      auto t = pseudo_terminal::open();
      auto p = on(t, "read line; echo \"got $line\"");
      std::string typed = "typed\n", shown(18, '\0');
      co_await t.async_write_all(bytes(typed));
      co_await t.async_read_exactly(room(shown));
      EXPECT_EQ(shown, "typed\r\ngot typed\r\n");
      std::error_code error;
      const auto n = co_await t.async_read_some(room(shown), error);
      EXPECT_EQ(n, 0u);
      EXPECT_FALSE(error);
      const auto status = co_await p.async_wait();
      EXPECT_TRUE(status.success());
    }).join();
  });
}

TEST_P(pseudo_terminal_test, waiting_for_a_program_is_cancelled) {
  run([] {
    auto t = pseudo_terminal::open();
    const int slave = ::open(t.name().c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    std::array<char, 16> buffer;
    auto reading = spawn([&] { EXPECT_THROW(t.read_some(room(buffer)), cancelled); });
    settle();
    reading.request_stop();
    reading.join();
    std::error_code error;
    auto as_task = spawn([&]() -> task<> { (void)co_await t.async_read_some(room(buffer), error); });
    settle();
    as_task.request_stop();
    as_task.join();
    EXPECT_EQ(error, std::errc::operation_canceled);
    // The keyboard's buffer is full when nobody reads: 4 KiB or so.
    t.set_raw();
    const std::string much(1 << 20, 'x');
    auto writing = spawn([&] { EXPECT_LT(t.write_all(bytes(much), error), much.size()); });
    settle();
    writing.request_stop();
    writing.join();
    EXPECT_EQ(error, std::errc::operation_canceled);
    t.write_some(bytes("x"), error);
    EXPECT_EQ(error, std::errc::broken_pipe);
    ::close(slave);
  });
}

TEST_P(pseudo_terminal_test, errors_are_told) {
  run([] {
    std::error_code error;
    pseudo_terminal none;
    none.set_raw(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    none.size(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    process::spawn({"true"}, {.terminal = "/nowhere"}, error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  });
}

TEST(pseudo_terminal, threads_use_it_too) {
  std::thread([] {
    auto t = pseudo_terminal::open();
    auto p = on(t, "echo shown");
    EXPECT_EQ(whole_screen(t), "shown\r\n");
    EXPECT_TRUE(p.wait().success());
  }).join();
}

TEST(pseudo_terminal, a_simulation_has_none) {
  sim::run({.seed = 1}, [] {
    std::error_code error;
    EXPECT_FALSE(pseudo_terminal::open({}, error).is_open());
    EXPECT_EQ(error, std::errc::operation_not_supported);
  });
}

}  // namespace
}  // namespace thrum
