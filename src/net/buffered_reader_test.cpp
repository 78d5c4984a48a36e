// Buffered readers: what each call gives, in whatever pieces the bytes come; limits; nothing is lost.
#include <thrum/net/buffered_reader.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "net/scripted_stream.hpp"
#include "tcp_support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::buffered_reader, net::line_end;
using line = std::optional<std::string_view>;

class buffered_reader_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, buffered_reader_test, worker_counts, count_name);

auto in_place(std::string& s) { return std::as_writable_bytes(std::span(s)); }

TEST(buffered_reader_bytes, lines_come_without_their_ends_in_whatever_pieces_they_arrive) {
  for (const std::size_t buffer : {1, 2, 3, 5, 4096}) {
    auto s = pieces({"a", "b\r", "\ncd\n\n", "e\rf\n", "\r\n", "rest"});
    buffered_reader in(s, {.buffer_size = buffer});
    for (const std::string_view expected : {"ab", "cd", "", "e\rf", "", "rest"}) EXPECT_EQ(in.read_line(), expected);
    EXPECT_EQ(in.read_line(), std::nullopt);
    EXPECT_EQ(in.read_line(), std::nullopt);
  }
}

TEST(buffered_reader_bytes, a_reader_may_insist_on_one_line_end) {
  auto s = pieces({"a\r\nb\n"});
  buffered_reader lf(s, {.lines = line_end::lf});
  EXPECT_EQ(lf.read_line(), "a\r");
  EXPECT_EQ(lf.read_line(), "b");
  s = pieces({"a\nb\rc\r", "\nd"});
  buffered_reader crlf(s, {.lines = line_end::crlf});
  EXPECT_EQ(crlf.read_line(), "a\nb\rc");
  EXPECT_EQ(crlf.read_line(), "d");
}

TEST(buffered_reader_bytes, a_line_beyond_the_limit_is_an_error_and_stays_there) {
  auto s = pieces({"12345", "678\nnext\n"});
  buffered_reader in(s, {.buffer_size = 2, .limit = 8});
  std::error_code error;
  EXPECT_EQ(in.read_line(error), std::nullopt);
  EXPECT_EQ(error, std::errc::message_size);
  EXPECT_EQ(code_of([&] { in.read_line(); }), std::errc::message_size);
  EXPECT_EQ(text_of(in.buffered()), "12345678");
  in.set_limit(9);
  EXPECT_EQ(in.read_line(error), "12345678");
  EXPECT_FALSE(error);
  EXPECT_EQ(in.read_line(), "next");
}

TEST(buffered_reader_bytes, what_was_read_ahead_is_within_the_limit_or_not_all_the_same) {
  auto s = pieces({"123456789\nnext\n"});
  buffered_reader in(s, {.limit = 8});
  EXPECT_EQ(code_of([&] { in.read_line(); }), std::errc::message_size);
  EXPECT_EQ(in.skip(10), 10u);
  EXPECT_EQ(in.read_line(), "next");
}

TEST(buffered_reader_bytes, an_endless_line_costs_no_more_than_a_multiple_of_the_limit) {
  scripted_stream s;
  for (int i = 0; i < 1000; ++i) s.steps.push_back({std::string(1000, 'x'), {}});
  buffered_reader in(s, {.limit = 10'000});
  EXPECT_EQ(code_of([&] { in.read_line(); }), std::errc::message_size);
  EXPECT_LT(in.buffered().size(), 40'000u);
  EXPECT_EQ(in.skip(UINT64_MAX), 1'000'000u);
}

TEST(buffered_reader_bytes, a_record_ends_with_its_delimiter_however_it_is_cut) {
  const std::string_view whole = "head\r\n\r\nbody\r\n\r\n";
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    auto s = pieces({whole.substr(0, cut), whole.substr(cut)});
    buffered_reader in(s, {.buffer_size = 3});
    EXPECT_EQ(in.read_until("\r\n\r\n"), "head\r\n\r\n");
    EXPECT_EQ(in.read_until("\r\n\r\n"), "body\r\n\r\n");
    EXPECT_EQ(in.read_until("\r\n\r\n"), std::nullopt);
  }
}

TEST(buffered_reader_bytes, a_record_that_the_end_cuts_off_is_an_error_and_stays_there) {
  auto s = pieces({"half"});
  buffered_reader in(s);
  EXPECT_EQ(code_of([&] { in.read_until(";"); }), std::errc::connection_aborted);
  EXPECT_EQ(text_of(in.buffered()), "half");
  EXPECT_EQ(in.read_line(), "half");
}

TEST(buffered_reader_bytes, exactly_so_many_bytes_or_none) {
  for (const std::size_t buffer : {1, 4, 4096}) {
    auto s = pieces({"abc", "defg", "hij", "kl"});
    buffered_reader in(s, {.buffer_size = buffer});
    std::string got(7, '-');
    in.read_exactly(in_place(got));
    EXPECT_EQ(got, "abcdefg");
    std::error_code error;
    in.read_exactly(in_place(got), error);
    EXPECT_EQ(error, std::errc::connection_aborted);
    EXPECT_EQ(text_of(in.buffered()), "hijkl");
    std::string rest(5, '-');
    in.read_exactly(in_place(rest), error);
    EXPECT_EQ(rest, "hijkl");
    EXPECT_FALSE(error);
  }
}

TEST(buffered_reader_bytes, what_came_before_an_error_is_read_by_the_next_call) {
  for (const std::size_t buffer : {1, 4, 4096}) {
    scripted_stream s;
    s.steps = {{"ab", {}}, {"", std::errc::timed_out}, {"c\nd", {}}, {"", std::errc::timed_out}, {"ef", {}}};
    buffered_reader in(s, {.buffer_size = buffer});
    EXPECT_EQ(code_of([&] { in.read_line(); }), std::errc::timed_out);
    EXPECT_EQ(in.read_line(), "abc");
    std::string got(3, '-');
    EXPECT_EQ(code_of([&] { in.read_exactly(in_place(got)); }), std::errc::timed_out);
    in.read_exactly(in_place(got));
    EXPECT_EQ(got, "def");
  }
}

TEST(buffered_reader_bytes, peeking_takes_nothing) {
  auto s = pieces({"ab", "cdef"});
  buffered_reader in(s, {.buffer_size = 1, .limit = 5});
  EXPECT_EQ(text_of(in.peek(3)), "abc");
  EXPECT_EQ(text_of(in.peek(1)), "a");
  EXPECT_EQ(code_of([&] { in.peek(6); }), std::errc::message_size);
  EXPECT_EQ(in.skip(2), 2u);
  EXPECT_EQ(text_of(in.peek(5)), "cdef") << "fewer at the end";
  EXPECT_EQ(in.read_line(), "cdef");
  EXPECT_TRUE(in.peek(1).empty());
}

TEST(buffered_reader_bytes, a_large_read_goes_past_the_buffer_and_a_small_one_fills_it) {
  auto s = pieces({"0123456789", "abcdef"});
  buffered_reader in(s, {.buffer_size = 8});
  std::string large(100, '-'), small(2, '-');
  EXPECT_EQ(in.read_some(in_place(large)), 10u);
  EXPECT_EQ(in.read_some(in_place(small)), 2u);
  EXPECT_EQ(text_of(in.buffered()), "cdef");
  EXPECT_EQ(in.read_some(in_place(large)), 4u) << "no read beside what is there";
  EXPECT_EQ(s.reads, 2);
  EXPECT_EQ(in.read_some({}), 0u);
  EXPECT_EQ(in.read_some(in_place(small)), 0u);
}

TEST(buffered_reader_bytes, many_small_records_pass_through_a_small_buffer) {
  std::string all;
  for (int i = 0; i < 3000; ++i) all += std::to_string(i) + "\n";
  auto s = pieces({all});
  buffered_reader in(s, {.buffer_size = 16});
  for (int i = 0; i < 3000; ++i) EXPECT_EQ(in.read_line(), std::to_string(i));
}

task<> reads_as_a_task(scripted_stream& s) {
  buffered_reader in(s, {.buffer_size = 2, .limit = 6});
  const auto first = co_await in.async_read_line();
  EXPECT_EQ(first, "ab");
  const auto second = co_await in.async_read_until(";");
  EXPECT_EQ(second, "cd;");
  const auto ahead = co_await in.async_peek(3);
  EXPECT_EQ(text_of(ahead), "efg");
  std::string got(2, '-');
  const auto n = co_await in.async_read_some(in_place(got));
  EXPECT_EQ(got.substr(0, n), std::string_view("ef").substr(0, n));
  const auto skipped = co_await in.async_skip(3 - n);
  EXPECT_EQ(skipped, 3 - n);
  got.assign(4, '-');
  co_await in.async_read_exactly(in_place(got));
  EXPECT_EQ(got, "hijk");
  std::error_code error;
  const auto none = co_await in.async_read_line(error);
  EXPECT_EQ(none, std::nullopt);
  EXPECT_EQ(error, std::errc::message_size);
  const auto cut = co_await in.async_read_until(";", error);
  EXPECT_EQ(cut, std::nullopt);
  EXPECT_EQ(error, std::errc::message_size);
  got.assign(100, '-');
  co_await in.async_read_exactly(in_place(got), error);
  EXPECT_EQ(error, std::errc::connection_aborted);
  EXPECT_EQ(text_of(in.buffered()), "0123456789");
  const auto rest = co_await in.async_skip(100, error);
  EXPECT_EQ(rest, 10u);
  EXPECT_FALSE(error);
}

TEST_P(buffered_reader_test, tasks_read_the_same) {
  run([] {
    auto s = pieces({"ab\nc", "d;e", "fghij", "k", "0123456789"});
    spawn(reads_as_a_task(s)).join();
  });
}

// Cancelled while it waits for the second half.
template <class Call>
void cancelled_reading(Call call) {
  auto [client, server] = connect_pair();
  buffered_reader in(server, {.buffer_size = 2});
  client.write_all(bytes("half"));
  EXPECT_EQ(text_of(in.peek(4)), "half");
  auto reading = spawn([&] { EXPECT_THROW(call(in), cancelled); });
  settle();
  reading.request_stop();
  reading.join();
  client.write_all(bytes(" and half\n"));
  EXPECT_EQ(in.read_line(), "half and half");
}

TEST_P(buffered_reader_test, a_cancelled_call_takes_nothing) {
  run([] {
    std::string got(5, '-');
    cancelled_reading([](auto& in) { in.read_line(); });
    cancelled_reading([](auto& in) { in.read_until(";"); });
    cancelled_reading([](auto& in) { in.peek(5); });
    cancelled_reading([&](auto& in) { in.read_exactly(in_place(got)); });
  });
}

TEST_P(buffered_reader_test, skipping_and_reading_are_cancelled_where_they_wait) {
  run([] {
    auto [client, server] = connect_pair();
    buffered_reader in(server);
    std::string got(5, '-');
    auto reading = spawn([&] { EXPECT_THROW(in.read_some(in_place(got)), cancelled); });
    settle();
    reading.request_stop();
    reading.join();
    client.write_all(bytes("abc"));
    EXPECT_EQ(text_of(in.peek(3)), "abc");
    auto skipping = spawn([&] {
      std::error_code error;
      const auto skipped = in.skip(5, error);
      EXPECT_EQ(skipped + in.buffered().size(), 3u) << "none, or all that there are";
      EXPECT_EQ(error, std::errc::operation_canceled);
      EXPECT_THROW(in.skip(1), cancelled);
    });
    settle();
    skipping.request_stop();
    skipping.join();
  });
}

template <class Make>
void cancelled_task(Make make) {
  auto [client, server] = connect_pair();
  buffered_reader in(server);
  client.write_all(bytes("half"));
  EXPECT_EQ(text_of(in.peek(4)), "half");
  auto reading = spawn([&]() -> task<> {
    bool stopped = false;
    try {
      co_await make(in);
    } catch (const cancelled&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped);
  });
  settle();
  reading.request_stop();
  reading.join();
  client.write_all(bytes(" and half\n"));
  EXPECT_EQ(in.read_line(), "half and half");
}

TEST_P(buffered_reader_test, a_cancelled_call_of_a_task_takes_nothing) {
  run([] {
    std::string got(5, '-');
    cancelled_task([](auto& in) { return in.async_read_line(); });
    cancelled_task([](auto& in) { return in.async_read_until(";"); });
    cancelled_task([](auto& in) { return in.async_peek(5); });
    cancelled_task([&](auto& in) { return in.async_read_exactly(in_place(got)); });
  });
}

TEST_P(buffered_reader_test, what_is_buffered_is_subject_to_cancellation_too) {
  run([] {
    auto s = pieces({"a\nb\n"});
    buffered_reader in(s);
    EXPECT_EQ(in.read_line(), "a");
    spawn([&] {
      scope stopped;
      stopped.cancel();
      EXPECT_THROW(in.read_line(), cancelled);
      std::error_code error;
      EXPECT_EQ(in.peek(1, error).size(), 0u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    }).join();
    EXPECT_EQ(in.read_line(), "b");
  });
}

TEST_P(buffered_reader_test, lines_pass_through_a_connection) {
  run([] {
    auto [client, server] = connect_pair();
    auto writing = spawn([&] {
      for (int i = 0; i < 500; ++i) client.write_all(bytes("line " + std::to_string(i) + "\r\n"));
      client.shutdown_write();
    });
    buffered_reader in(server);
    for (int i = 0; i < 500; ++i) EXPECT_EQ(in.read_line(), "line " + std::to_string(i));
    EXPECT_EQ(in.read_line(), std::nullopt);
    writing.join();
  });
}

}  // namespace
}  // namespace thrum
