// What splice.hpp promises, and that copy() and relay() may use it.
#include <thrum/net/copy.hpp>
#include <thrum/net/splice.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/net/unix_stream.hpp>
#include <thrum/pipe.hpp>

#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class splice_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, splice_test, worker_counts, count_name);

auto room(std::string& s) { return std::as_writable_bytes(std::span(s)); }

// Much, in which every place is known.
std::string much_text(std::size_t size = 3'000'000) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i / 7 + i / 1000) % 26);
  return text;
}

template <class Stream>
std::string rest_of(Stream& s) {
  std::string all;
  std::string buffer(65536, '\0');
  while (const auto n = s.read_some(room(buffer))) all.append(buffer, 0, n);
  return all;
}

struct cable {
  connection left = connect_pair(), right = connect_pair();
  tcp_stream &source = left.client, &from = left.server, &to = right.client, &sink = right.server;
};

TEST_P(splice_test, all_arrives_and_is_counted) {
  run([] {
    cable c;
    const auto text = much_text();
    auto writing = spawn([&] {
      c.source.write_all(bytes(text));
      c.source.shutdown_write();
    });
    auto moving = spawn([&] {
      auto held = splice_buffer::make();
      EXPECT_EQ(splice(c.from, c.to, held, 1000), 1000u);
      EXPECT_EQ(splice(c.from, c.to, held), text.size() - 1000);
      EXPECT_EQ(held.size(), 0u);
      c.to.shutdown_write();
    });
    EXPECT_TRUE(rest_of(c.sink) == text);
    moving.join();
    writing.join();
  });
}

TEST_P(splice_test, tasks_do_the_same) {
  run([] {
    cable c;
    const auto text = much_text();
    auto writing = spawn([&]() -> task<> {
      co_await c.source.async_write_all(bytes(text));
      c.source.shutdown_write();
    });
    auto moving = spawn([&]() -> task<> {
      auto held = splice_buffer::make();
      const auto first = co_await async_splice(c.from, c.to, held, 1000);
      EXPECT_EQ(first, 1000u);
      const auto second = co_await async_splice(c.from, c.to, held);
      EXPECT_EQ(second, text.size() - 1000);
      c.to.shutdown_write();
    });
    EXPECT_TRUE(rest_of(c.sink) == text);
    moving.join();
    writing.join();
  });
}

TEST_P(splice_test, pipes_and_unix_streams_are_ends_too) {
  run([] {
    auto first = make_pipe(), last = make_pipe();
    auto [near, far] = unix_stream::pair();
    const auto text = much_text(300'000);
    auto writing = spawn([&] {
      first.writer.write_all(bytes(text));
      first.writer.close();
    });
    auto into = spawn([&, &near = near] {
      auto held = splice_buffer::make();
      EXPECT_EQ(splice(first.reader, near, held), text.size());
      near.shutdown_write();
    });
    auto out = spawn([&, &far = far] {
      auto held = splice_buffer::make();
      EXPECT_EQ(splice(far, last.writer, held), text.size());
      last.writer.close();
    });
    EXPECT_TRUE(rest_of(last.reader) == text);
    for (auto* f : {&writing, &into, &out}) f->join();
  });
}

task<> splice_in_a_task(cable& c, splice_buffer& held, std::uint64_t& written, std::error_code& error) {
  written = co_await async_splice(c.from, c.to, held, UINT64_MAX, error);
}

// Stops it where it waits to write, and looks for every byte.
template <class Start>
void interrupt(Start start) {
  cable c;
  auto held = splice_buffer::make();
  fill(c.to);
  const auto text = much_text(200'000);
  auto writing = spawn([&] {
    c.source.write_all(bytes(text));
    c.source.shutdown_write();
  });
  std::uint64_t written = 0;
  std::error_code error;
  auto moving = start(c, held, written, error);
  until_the_others_wait();
  moving.request_stop();
  moving.join();
  EXPECT_EQ(error, std::errc::operation_canceled);
  std::string kept(held.size(), '\0');
  EXPECT_EQ(held.take(room(kept)), kept.size());
  EXPECT_EQ(held.size(), 0u);
  EXPECT_TRUE(kept == text.substr(written, kept.size()));
  EXPECT_TRUE(rest_of(c.from) == text.substr(written + kept.size()));
  writing.join();
}

TEST_P(splice_test, what_a_cancelled_call_has_read_is_held) {
  run([] {
    interrupt([](cable& c, splice_buffer& held, std::uint64_t& written, std::error_code& error) {
      return spawn([&] { written = splice(c.from, c.to, held, UINT64_MAX, error); });
    });
    interrupt([](cable& c, splice_buffer& held, std::uint64_t& written, std::error_code& error) {
      return spawn(splice_in_a_task(c, held, written, error));
    });
  });
}

TEST_P(splice_test, another_call_goes_on_with_what_is_held) {
  run([] {
    cable c, other;
    auto held = splice_buffer::make();
    c.source.write_all(bytes("held back"));
    c.source.shutdown_write();
    c.to.close();
    EXPECT_EQ(code_of([&] { splice(c.from, c.to, held); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(held.size(), 9u);
    EXPECT_EQ(splice(c.from, other.to, held, 0), 9u);
    other.to.shutdown_write();
    EXPECT_EQ(rest_of(other.sink), "held back");
  });
}

TEST_P(splice_test, a_cancelled_call_does_nothing) {
  run([] {
    cable c;
    c.source.write_all(bytes("stays"));
    auto held = splice_buffer::make();
    scope s;
    s.cancel();
    EXPECT_THROW(splice(c.from, c.to, held), cancelled);
    std::uint64_t written = 0;
    std::error_code error;
    go_in(s, splice_in_a_task(c, held, written, error));
    s.join();
    EXPECT_EQ(error, std::errc::operation_canceled);
    EXPECT_EQ(held.size(), 0u);
  });
}

TEST(splice, threads_do_it_and_get_no_sigpipe) {
  std::thread([] {
    auto in = make_pipe(), out = make_pipe();
    in.writer.write_all(bytes("abc"));
    out.reader.close();
    auto held = splice_buffer::make();
    EXPECT_EQ(code_of([&] { splice(in.reader, out.writer, held); }), std::errc::broken_pipe);
    EXPECT_EQ(held.size(), 3u);
  }).join();
}

// ---------------------------------------------------------------------------------------------------------------

struct counting_stream : tcp_stream {};
static_assert(detail::can_be_spliced<tcp_stream, pipe_writer> && detail::can_be_spliced<pipe_reader, unix_stream>);
static_assert(!detail::can_be_spliced<counting_stream, tcp_stream>, "it may have a read_some() of its own");

template <class Relay>
void pass_both_ways(Relay relay) {
  cable c;
  const auto text = much_text();
  const std::size_t before = open_descriptors();
  fiber proxy = spawn([&] { relay(c); });
  fiber forth = spawn([&] { c.source.write_all(bytes(text)); });
  // The pipe is there while bytes are on their way, and only then.
  EXPECT_TRUE(eventually([&] { return open_descriptors() >= before + 2; }));
  std::string got(text.size(), '\0');
  c.sink.read_exactly(room(got));
  EXPECT_TRUE(got == text);
  forth.join();
  c.source.shutdown_write();
  EXPECT_EQ(rest_of(c.sink), "");
  fiber back = spawn([&] {
    c.sink.write_all(bytes(text));
    c.sink.shutdown_write();
  });
  EXPECT_TRUE(rest_of(c.source) == text);
  back.join();
  proxy.join();
  expect_no_more_descriptors_than(before);
}

TEST_P(splice_test, a_relay_moves_bulk_through_the_kernel_and_half_closes) {
  run([] {
    const auto size = much_text().size();
    pass_both_ways([&](cable& c) {
      const auto n = relay(c.from, c.to);
      EXPECT_TRUE(n.to_second == size && n.to_first == size);
    });
    pass_both_ways([&](cable& c) {
      const auto n = spawn(async_relay(c.from, c.to)).join();
      EXPECT_TRUE(n.to_second == size && n.to_first == size);
    });
  });
}

TEST_P(splice_test, a_copy_ends_at_its_limit_in_bulk_too) {
  run([] {
    cable c;
    const auto text = much_text(400'000);
    auto writing = spawn([&] { c.source.write_all(bytes(text)); });
    auto reading = spawn([&] { EXPECT_TRUE(rest_of(c.sink) == text.substr(0, 300'000)); });
    EXPECT_EQ(copy(c.from, c.to, {.limit = 300'000}), 300'000u);
    c.to.shutdown_write();
    reading.join();
    c.from.close();
    EXPECT_NO_THROW(writing.join());
  });
}

TEST_P(splice_test, where_the_kernel_refuses_a_copy_goes_on_through_memory) {
  run([] {
    const int fd = ::memfd_create("log", MFD_CLOEXEC);
    ASSERT_GE(fd, 0);
    ::fcntl(fd, F_SETFL, O_APPEND);
    auto log = pipe_writer::reopen(fd);
    const auto text = much_text(400'000);
    for (int i = 0; i < 2; ++i) {
      cable c;
      auto writing = spawn([&] {
        c.source.write_all(bytes(text));
        c.source.shutdown_write();
      });
      if (i == 0) EXPECT_EQ(copy(c.from, log), text.size());
      if (i == 1)
        EXPECT_EQ(spawn([&]() -> task<std::uint64_t> { co_return co_await async_copy(c.from, log); }).join(),
                  text.size());
      writing.join();
    }
    std::string logged(2 * text.size() + 1, '\0');
    EXPECT_EQ(::pread(fd, logged.data(), logged.size(), 0), static_cast<ssize_t>(2 * text.size()));
    logged.pop_back();
    EXPECT_TRUE(logged == text + text);
    ::close(fd);
  });
}

TEST_P(splice_test, without_descriptors_a_copy_goes_through_memory) {
  run([] {
    cable c;
    const auto text = much_text(400'000);
    auto writing = spawn([&] {
      c.source.write_all(bytes(text));
      c.source.shutdown_write();
    });
    auto reading = spawn([&] { EXPECT_TRUE(rest_of(c.sink) == text); });
    settle();
    {
      descriptor_limit tight(3);
      EXPECT_EQ(copy(c.from, c.to), text.size());
    }
    c.to.shutdown_write();
    reading.join();
    writing.join();
  });
}

TEST(splice, a_simulation_has_no_such_buffers_and_copies_all_the_same) {
  sim::run({.seed = 1}, [] {
    std::error_code error;
    EXPECT_FALSE(splice_buffer::make(error).is_open());
    EXPECT_EQ(error, std::errc::operation_not_supported);
    cable c;
    const auto text = much_text(200'000);
    auto writing = spawn([&] {
      c.source.write_all(bytes(text));
      c.source.shutdown_write();
    });
    auto reading = spawn([&] { EXPECT_TRUE(rest_of(c.sink) == text); });
    EXPECT_EQ(copy(c.from, c.to), text.size());
    c.to.shutdown_write();
    reading.join();
    writing.join();
  });
}

}  // namespace
}  // namespace thrum::net
