// Pipes: bytes, ends, deadlines, close, the signal that is not delivered, and descriptors taken over. For fibers, tasks
// and plain threads.
#include <thrum/pipe.hpp>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

auto as_bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_from(pipe_reader& r, std::size_t at_most = 4096) {
  std::string text(at_most, '\0');
  text.resize(r.read_some(std::as_writable_bytes(std::span(text))));
  return text;
}

// Writes until there is no room; returns how much went in.
std::size_t fill(pipe_writer& w) {
  const std::vector<std::byte> block(4096);
  std::size_t total = 0;
  w.set_timeout(1ms);
  for (std::error_code error; !error;) total += w.write_some(block, error);
  w.set_timeout({});
  return total;
}

class pipe_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, pipe_test, worker_counts, count_name);

TEST_P(pipe_test, bytes_arrive_in_order_and_then_the_end) {
  run([] {
    auto [reader, writer] = make_pipe();
    std::string sent;
    for (int i = 0; i < 60'000; ++i) sent += std::to_string(i) + ' ';
    fiber f = spawn([&writer = writer, &sent] {
      writer.write_all(as_bytes_of(sent));
      writer.close();
    });
    std::string got;
    for (std::string more; !(more = text_from(reader)).empty();) got += more;
    EXPECT_EQ(got, sent);
    f.join();
  });
}

TEST_P(pipe_test, tasks_read_and_write_likewise) {
  run([] {
    auto ends = make_pipe();
    const std::string sent(1 << 20, 'x');
    const auto write = [&]() -> task<> {
      std::error_code error;
      co_await ends.writer.async_wait_writable(error);
      EXPECT_FALSE(error);
      co_await ends.writer.async_write_all(as_bytes_of(sent));
      ends.writer.close();
    };
    auto writing = spawn(write());
    const auto read = [&]() -> task<std::string> {
      std::string got(sent.size(), '\0');
      co_await ends.reader.async_wait_readable();
      co_await ends.reader.async_read_exactly(std::as_writable_bytes(std::span(got)));
      std::error_code error;
      std::array<std::byte, 1> more;
      const auto n = co_await ends.reader.async_read_exactly(more, error);
      EXPECT_EQ(n, 0u);
      EXPECT_EQ(error, std::errc::connection_aborted);
      co_return got;
    };
    EXPECT_EQ(spawn(read()).join(), sent);
    writing.join();
  });
}

TEST_P(pipe_test, a_full_pipe_waits_for_its_reader) {
  run([] {
    auto [reader, writer] = make_pipe();
    auto written = fill(writer);
    fiber f = spawn([&] {
      writer.write_all(as_bytes_of("more"));
      writer.close();
    });
    std::size_t read = 0;
    for (std::string more; !(more = text_from(reader)).empty();) read += more.size();
    f.join();
    EXPECT_EQ(read, written + 4);
  });
}

TEST_P(pipe_test, without_a_reader_it_is_broken_and_no_signal_comes) {
  run([] {
    auto [reader, writer] = make_pipe();
    reader.close();
    std::error_code error;
    EXPECT_EQ(writer.write_some(as_bytes_of("x"), error), 0u);
    EXPECT_EQ(error, std::errc::broken_pipe);
    sigset_t pending;
    ::sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
    EXPECT_THROW(writer.write_all(as_bytes_of("x")), std::system_error);
  });
}

TEST_P(pipe_test, a_writer_that_waits_learns_that_the_reader_has_gone) {
  run([] {
    auto [reader, writer] = make_pipe();
    fill(writer);
    std::error_code error;
    fiber f = spawn([&] { writer.write_some(as_bytes_of("x"), error); });
    settle();
    reader.close();
    f.join();
    EXPECT_EQ(error, std::errc::broken_pipe);
  });
}

TEST_P(pipe_test, a_write_that_stops_in_the_middle_breaks_the_writer) {
  run([] {
    auto [reader, writer] = make_pipe();
    const std::string much(1 << 20, 'x');
    writer.set_timeout(5ms);
    std::error_code error;
    EXPECT_LT(writer.write_all(as_bytes_of(much), error), much.size());
    EXPECT_EQ(error, std::errc::timed_out);
    writer.write_some(as_bytes_of("x"), error);
    EXPECT_EQ(error, std::errc::broken_pipe);
  });
}

TEST_P(pipe_test, deadlines_end_waits) {
  run([] {
    auto [reader, writer] = make_pipe();
    std::array<std::byte, 8> buffer;
    std::error_code error;
    reader.set_timeout(2ms);
    EXPECT_EQ(reader.read_some(buffer, error), 0u);
    EXPECT_EQ(error, std::errc::timed_out);
    reader.set_timeout({});
    reader.set_deadline(clock::now());
    reader.wait_readable(error);
    EXPECT_EQ(error, std::errc::timed_out);
    reader.clear_deadline();
    writer.write_all(as_bytes_of("x"));
    EXPECT_EQ(reader.read_some(buffer, error), 1u);
    EXPECT_FALSE(error);
  });
}

TEST_P(pipe_test, close_ends_a_wait) {
  run([] {
    auto [reader, writer] = make_pipe();
    std::error_code error;
    fiber f = spawn([&] { reader.wait_readable(error); });
    until_the_others_wait();
    reader.close();
    f.join();
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
  });
}

// Each call that waits, cancelled there: throws or reports, and nothing has happened.
TEST_P(pipe_test, cancellation_ends_every_wait_and_takes_nothing) {
  run([] {
    auto in = make_pipe(), out = make_pipe();
    const auto full = fill(out.writer);
    std::array<std::byte, 8> buffer;
    const std::vector<std::function<void()>> calls{
        [&] { in.reader.read_some(buffer); },
        [&] { in.reader.read_exactly(buffer); },
        [&] { in.reader.wait_readable(); },
        [&] { out.writer.write_some(as_bytes_of("x")); },
        [&] { out.writer.write_all(as_bytes_of("x")); },
        [&] { out.writer.wait_writable(); },
    };
    for (const auto& call : calls) {
      bool was_cancelled = false;
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
    std::size_t read = 0;
    out.writer.close();
    for (std::string more; !(more = text_from(out.reader)).empty();) read += more.size();
    EXPECT_EQ(read, full);
  });
}

TEST_P(pipe_test, cancellation_ends_every_wait_of_a_task) {
  run([] {
    auto in = make_pipe(), out = make_pipe();
    fill(out.writer);
    std::array<std::byte, 8> buffer;
    const std::vector<std::function<task<>()>> calls{
        [&]() -> task<> { co_await in.reader.async_read_some(buffer); },
        [&]() -> task<> { co_await in.reader.async_read_exactly(buffer); },
        [&]() -> task<> { co_await in.reader.async_wait_readable(); },
        [&]() -> task<> { co_await out.writer.async_write_some(as_bytes_of("x")); },
        [&]() -> task<> { co_await out.writer.async_write_all(as_bytes_of("x")); },
        [&]() -> task<> { co_await out.writer.async_wait_writable(); },
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
  });
}

TEST_P(pipe_test, select_waits_for_either_end) {
  run([] {
    auto [reader, writer] = make_pipe();
    channel<int> ch(0);
    int which = 0;
    select(ch.on_receive([](auto) {}), writer.on_writable([&] { which = 1; }));
    EXPECT_EQ(which, 1);
    go([&writer = writer] { writer.write_all(as_bytes_of("x")); });
    select(ch.on_receive([](auto) {}), reader.on_readable([&] { which = 2; }));
    EXPECT_EQ(which, 2);
    EXPECT_EQ(text_from(reader), "x");
    select(reader.on_readable([&] { which = 3; }), otherwise([&] { which = 4; }));
    EXPECT_EQ(which, 4);
  });
}

TEST_P(pipe_test, a_reopened_descriptor_leaves_the_mode_of_the_shared_one_alone) {
  run([] {
    std::array<int, 2> fds;
    ASSERT_EQ(::pipe(fds.data()), 0);
    {
      auto reader = pipe_reader::reopen(fds[0]);
      auto writer = pipe_writer::reopen(fds[1]);
      EXPECT_EQ(::fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
      EXPECT_NE(::fcntl(reader.native_handle(), F_GETFL) & O_NONBLOCK, 0);
      EXPECT_NE(::fcntl(reader.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
      fiber f = spawn([&] { EXPECT_EQ(text_from(reader), "hello"); });
      settle();
      writer.write_all(as_bytes_of("hello"));
      f.join();
    }
    for (const int fd : fds) ::close(fd);
  });
}

TEST_P(pipe_test, a_terminal_gives_all_its_lines) {
  run([] {
    const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(terminal, 0);
    ASSERT_EQ(::grantpt(terminal), 0);
    ASSERT_EQ(::unlockpt(terminal), 0);
    std::array<char, 64> name;
    ASSERT_EQ(::ptsname_r(terminal, name.data(), name.size()), 0);
    auto keyboard = pipe_writer::adopt(terminal);
    const int shared = ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(shared, 0);
    auto reader = pipe_reader::reopen(shared);
    fiber f = spawn([&] {
      EXPECT_EQ(text_from(reader), "one\n");
      EXPECT_EQ(text_from(reader), "two\n");
    });
    settle();
    keyboard.write_all(as_bytes_of("one\ntwo\n"));
    f.join();
    ::close(shared);
  });
}

TEST_P(pipe_test, a_regular_file_is_read_to_its_end) {
  run([] {
    std::string path = std::filesystem::temp_directory_path() / "thrum_pipe_test_XXXXXX";
    const int fd = ::mkstemp(path.data());
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::write(fd, "abc", 3), 3);
    ASSERT_EQ(::lseek(fd, 1, SEEK_SET), 1);
    auto reader = pipe_reader::reopen(fd);
    reader.wait_readable();
    EXPECT_EQ(text_from(reader), "bc");  // From where those who share it are.
    EXPECT_EQ(text_from(reader), "");
    ::close(fd);
    ::unlink(path.c_str());
  });
}

TEST_P(pipe_test, a_fifo_that_gets_another_writer_has_ended_all_the_same) {
  run([] {
    const std::string path = std::filesystem::temp_directory_path() / ("thrum_pipe_test_" + std::to_string(::getpid()));
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    auto reader = pipe_reader::adopt(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    const auto open_writer = [&] { return pipe_writer::adopt(::open(path.c_str(), O_WRONLY | O_CLOEXEC)); };
    auto first = open_writer();
    event got_one;
    fiber f = spawn([&] {
      EXPECT_EQ(text_from(reader), "one");
      got_one.set();
      EXPECT_EQ(text_from(reader), "");
    });
    first.write_all(as_bytes_of("one"));
    got_one.wait();
    until_the_others_wait();
    first.close();
    f.join();
    auto second = open_writer();
    EXPECT_EQ(text_from(reader), "");
    ::unlink(path.c_str());
  });
}

TEST_P(pipe_test, threads_and_fibers_share_one) {
  run([] {
    auto [reader, writer] = make_pipe();
    std::thread t([&reader = reader] {
      std::array<std::byte, 5> buffer;
      reader.read_exactly(buffer);
      EXPECT_EQ(text_from(reader), "");
    });
    for (int i = 0; i < 5; ++i) writer.write_all(as_bytes_of("x"));
    writer.close();
    t.join();
  });
}

TEST(pipe_on_a_thread, a_broken_one_delivers_no_signal_and_takes_nobodys) {
  static volatile std::sig_atomic_t delivered;
  delivered = 0;
  struct sigaction action {
  }, before;
  action.sa_handler = [](int) { delivered = delivered + 1; };
  ::sigaction(SIGPIPE, &action, &before);
  auto [reader, writer] = make_pipe();
  reader.close();
  std::error_code error;
  writer.write_some(as_bytes_of("x"), error);
  EXPECT_EQ(error, std::errc::broken_pipe);
  EXPECT_EQ(delivered, 0);
  // One that the program itself has blocked and not yet taken stays pending.
  sigset_t sigpipe, old;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
  ::raise(SIGPIPE);
  writer.write_some(as_bytes_of("x"), error);
  EXPECT_EQ(error, std::errc::broken_pipe);
  EXPECT_EQ(delivered, 0);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  EXPECT_EQ(delivered, 1);
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST(pipe_in_a_simulation, is_none_of_the_kernels) {
  if (under_tsan) GTEST_SKIP();
  sim::run({.seed = 1}, [] {
    std::error_code error;
    (void)pipe_reader::reopen(0, error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
  });
}

// What fits into PIPE_BUF comes in one piece, however it is interrupted; what is longer does not.
TEST(pipe_in_a_simulation, small_writes_are_whole_and_large_ones_are_not) {
  if (under_tsan) GTEST_SKIP();
  int parts = 0;
  for (sim::options o{.one_in_interrupted = 4}; o.seed <= 20; ++o.seed)
    sim::run(o, [&] {
      auto [reader, writer] = make_pipe();
      fiber f = spawn([&writer = writer] {
        for (int i = 0; i < 50; ++i) EXPECT_EQ(writer.write_some(as_bytes_of(std::string(4000, 'x'))), 4000u);
        writer.write_all(as_bytes_of(std::string(20'000, 'y')));
        writer.close();
      });
      for (int i = 0; i < 50; ++i) EXPECT_EQ(text_from(reader, 4000).size(), 4000u);
      while (!text_from(reader, 20'000).empty()) ++parts;
      f.join();
    });
  EXPECT_GT(parts, 20);
}

TEST(pipe_errors, of_descriptors_that_are_none) {
  std::error_code error;
  (void)pipe_reader::adopt(-1, error);
  EXPECT_EQ(error, std::errc::bad_file_descriptor);
  (void)pipe_writer::reopen(987'654, error);
  EXPECT_EQ(error, std::errc::bad_file_descriptor);
  EXPECT_THROW((void)pipe_reader::adopt(-1), std::system_error);
  pipe_reader closed;
  closed.wait_readable(error);
  EXPECT_EQ(error, std::errc::bad_file_descriptor);
}

}  // namespace
}  // namespace thrum
