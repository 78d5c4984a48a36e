// Buffered writers: what is sent when, and what a failed or cancelled call leaves behind.
#include <thrum/net/buffered_writer.hpp>

#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "net/scripted_stream.hpp"
#include "tcp_support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::buffered_writer;

class buffered_writer_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, buffered_writer_test, worker_counts, count_name);

TEST(buffered_writer_bytes, small_writes_are_sent_together) {
  scripted_stream s;
  buffered_writer out(s, 8);
  out.write("abc");
  out.write("defgh");
  EXPECT_EQ(s.writes, 0);
  EXPECT_EQ(out.buffered(), 8u);
  out.write("i");
  EXPECT_EQ(s.taken, "abcdefgh");
  out.flush();
  EXPECT_EQ(s.taken, "abcdefghi");
  EXPECT_EQ(out.buffered(), 0u);
  out.flush();
  EXPECT_EQ(s.writes, 2) << "nothing to flush, nothing sent";
}

TEST(buffered_writer_bytes, large_writes_are_sent_at_once_and_in_order) {
  for (const std::size_t size : {0, 1, 4, 100}) {
    scripted_stream s;
    s.takes_at_most = 3;
    buffered_writer out(s, size);
    out.write("ab");
    out.write("0123456789");
    out.write("");
    out.write("c");
    out.flush();
    EXPECT_EQ(s.taken, "ab0123456789c");
  }
}

TEST(buffered_writer_bytes, a_failed_flush_goes_on_where_it_stopped) {
  scripted_stream s;
  s.takes_at_most = 2;
  s.writes_until_failure = 1;
  buffered_writer out(s, 8);
  out.write("abcdef");
  EXPECT_EQ(code_of([&] { out.flush(); }), std::errc::no_buffer_space);
  EXPECT_EQ(out.buffered(), 4u);
  out.flush();
  EXPECT_EQ(s.taken, "abcdef");
}

TEST(buffered_writer_bytes, a_write_that_could_not_begin_may_be_repeated) {
  scripted_stream s;
  s.writes_until_failure = 0;
  buffered_writer out(s, 4);
  out.write("abc");
  std::error_code error;
  EXPECT_EQ(out.write("defg", error), 0u);
  EXPECT_EQ(error, std::errc::no_buffer_space);
  EXPECT_EQ(out.write("defg", error), 4u);
  EXPECT_FALSE(error);
  out.flush();
  EXPECT_EQ(s.taken, "abcdefg");
}

TEST(buffered_writer_bytes, a_write_that_stopped_in_the_middle_breaks_the_writer) {
  scripted_stream s;
  s.takes_at_most = 3;
  s.writes_until_failure = 1;
  buffered_writer out(s, 4);
  std::error_code error;
  EXPECT_EQ(out.write("0123456789", error), 3u);
  EXPECT_EQ(error, std::errc::no_buffer_space);
  EXPECT_EQ(code_of([&] { out.write("x"); }), std::errc::broken_pipe);
  EXPECT_EQ(code_of([&] { out.flush(); }), std::errc::broken_pipe);
}

TEST(buffered_writer_bytes, it_is_a_stream_itself) {
  scripted_stream s;
  buffered_writer inner(s, 4);
  buffered_writer outer(inner, 16);
  EXPECT_EQ(outer.write_some(bytes("abcdef")), 6u);
  outer.write_all(bytes("ghi"));
  outer.flush();
  inner.flush();
  EXPECT_EQ(s.taken, "abcdefghi");
}

task<> writes_as_a_task(scripted_stream& s) {
  buffered_writer out(s, 4);
  co_await out.async_write("ab");
  co_await out.async_write("0123456789");
  const auto n = co_await out.async_write_some(bytes("cd"));
  EXPECT_EQ(n, 2u);
  co_await out.async_write_all(bytes("e"));
  co_await out.async_flush();
  EXPECT_EQ(s.taken, "ab0123456789cde");
  s.writes_until_failure = 1;
  std::error_code error;
  const auto done = co_await out.async_write("0123456789", error);
  EXPECT_EQ(done, 3u);
  EXPECT_EQ(error, std::errc::no_buffer_space);
  const auto broken = co_await out.async_write_all(bytes("x"), error);
  EXPECT_EQ(broken, 0u);
  EXPECT_EQ(error, std::errc::broken_pipe);
  co_await out.async_flush(error);
  EXPECT_EQ(error, std::errc::broken_pipe);
}

TEST_P(buffered_writer_test, tasks_write_the_same) {
  run([] {
    scripted_stream s;
    s.takes_at_most = 3;
    spawn(writes_as_a_task(s)).join();
  });
}

TEST_P(buffered_writer_test, a_cancelled_flush_loses_nothing) {
  run([] {
    auto [client, server] = connect_pair();
    const auto filled = fill(client);
    buffered_writer out(client);
    out.write("the end");
    auto flushing = spawn([&] { EXPECT_THROW(out.flush(), cancelled); });
    settle();
    flushing.request_stop();
    flushing.join();
    auto as_task = spawn([&]() -> task<> {
      std::error_code error;
      co_await out.async_flush(error);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    as_task.request_stop();
    as_task.join();
    EXPECT_EQ(out.buffered(), 7u);
    auto reading = spawn([&, s = &server] { EXPECT_EQ(read_whole(*s, filled).size(), filled); });
    out.flush();
    reading.join();
    EXPECT_EQ(read_whole(server, 7), "the end");
  });
}

TEST_P(buffered_writer_test, a_cancelled_write_is_not_begun_or_breaks_the_writer) {
  run([] {
    auto [client, server] = connect_pair();
    fill(client);
    buffered_writer out(client, 4);
    out.write("abc");
    auto writing = spawn([&] { EXPECT_THROW(out.write("def"), cancelled); });
    settle();
    writing.request_stop();
    writing.join();
    EXPECT_EQ(out.buffered(), 3u);
    auto as_task = spawn([&]() -> task<> {
      std::error_code error;
      const auto n = co_await out.async_write("def", error);
      EXPECT_EQ(n, 0u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    as_task.request_stop();
    as_task.join();
    EXPECT_EQ(out.buffered(), 3u);
  });
}

}  // namespace
}  // namespace thrum
