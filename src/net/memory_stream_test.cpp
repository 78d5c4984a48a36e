// Pipes in memory: they behave as connections do, for fibers, tasks and threads; copying and relaying between streams.
#include <thrum/net/memory_stream.hpp>

#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <thrum/net/buffered_reader.hpp>
#include <thrum/net/copy.hpp>

#include "net/scripted_stream.hpp"
#include "tcp_support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::buffered_reader, net::memory_stream;

class memory_stream_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, memory_stream_test, worker_counts, count_name);

std::string some_text(memory_stream& p, std::size_t at_most = 4096) {
  std::string text(at_most, '\0');
  text.resize(p.read_some(std::as_writable_bytes(std::span(text))));
  return text;
}
std::string whole_text(memory_stream& p) {
  std::string text;
  for (std::string more = some_text(p); !more.empty(); more = some_text(p)) text += more;
  return text;
}
std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + " ";
  return text;
}

TEST_P(memory_stream_test, each_end_reads_what_the_other_wrote_and_then_the_end) {
  run([] {
    auto [a, b] = net::memory_stream::pair();
    a.write_all(bytes("to b"));
    b.write_all(bytes("to a"));
    a.shutdown_write();
    EXPECT_EQ(some_text(b), "to b");
    EXPECT_EQ(some_text(b), "");
    EXPECT_EQ(some_text(a), "to a");
    b.write_all(bytes("more"));
    EXPECT_EQ(some_text(a), "more");
    EXPECT_EQ(code_of([&, p = &a] { p->write_all(bytes("x")); }), std::errc::broken_pipe);
  });
}

TEST_P(memory_stream_test, a_writer_waits_while_the_buffer_is_full) {
  run([] {
    for (const std::size_t capacity : {0, 1, 7, 4096}) {
      auto ends = net::memory_stream::pair(capacity);
      const auto text = numbers(2000);
      auto writing = spawn([&] {
        ends.first.write_all(bytes(text));
        ends.first.close();
      });
      EXPECT_EQ(whole_text(ends.second), text);
      writing.join();
    }
  });
}

TEST_P(memory_stream_test, tasks_and_fibers_meet) {
  run([] {
    auto ends = net::memory_stream::pair(5);
    const auto text = numbers(500);
    auto echo = spawn([](memory_stream p, std::size_t size) -> task<> {
      std::string got(size, '\0');
      co_await p.async_read_exactly(std::as_writable_bytes(std::span(got)));
      co_await p.async_write_all(bytes(got));
      p.close();  // Its parameters live as long as the handle.
    }(std::move(ends.second), text.size()));
    ends.first.write_all(bytes(text));
    EXPECT_EQ(whole_text(ends.first), text);
    echo.join();
  });
}

TEST(memory_stream_threads, plain_threads_use_them_as_well) {
  auto ends = net::memory_stream::pair(5);
  const auto text = numbers(500);
  std::thread writing([&] {
    ends.first.write_all(bytes(text));
    ends.first.close();
  });
  EXPECT_EQ(whole_text(ends.second), text);
  writing.join();
}

TEST_P(memory_stream_test, closing_an_end_ends_what_waits_on_both) {
  run([] {
    auto ends = net::memory_stream::pair(1);
    ends.first.write_all(bytes("x"));
    auto writer = spawn([&] { EXPECT_EQ(code_of([&] { ends.first.write_all(bytes("y")); }), std::errc::broken_pipe); });
    auto reader = spawn([&] { EXPECT_EQ(some_text(ends.first), ""); });
    settle();
    ends.second.close();
    writer.join();
    reader.join();
    EXPECT_FALSE(ends.second.is_open());
    EXPECT_EQ(code_of([&] { some_text(ends.second); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([&] { ends.second.write_all(bytes("z")); }), std::errc::bad_file_descriptor);
    ends.second.close();
  });
}

TEST_P(memory_stream_test, who_waits_on_the_end_that_is_closed_is_told) {
  run([] {
    auto ends = net::memory_stream::pair(1);
    auto reader = spawn([&] { EXPECT_EQ(code_of([&] { some_text(ends.first); }), std::errc::bad_file_descriptor); });
    settle();
    ends.first.close();
    reader.join();
  });
}

TEST(memory_stream_ends, an_empty_one_is_closed) {
  memory_stream none;
  EXPECT_FALSE(none.is_open());
  EXPECT_EQ(code_of([&] { some_text(none); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(code_of([&] { none.write_some(bytes("x")); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(code_of([&] { none.shutdown_write(); }), std::errc::bad_file_descriptor);
  auto [a, b] = net::memory_stream::pair();
  none = std::move(a);
  EXPECT_TRUE(none.is_open());
  none = {};
  EXPECT_EQ(some_text(b), "") << "the assigned-to end was closed";
}

TEST_P(memory_stream_test, a_cancelled_call_did_not_happen) {
  run([] {
    auto ends = net::memory_stream::pair(2);
    auto reader = spawn([&] { EXPECT_THROW(some_text(ends.second), cancelled); });
    auto reading_task = spawn([&]() -> task<> {
      std::error_code error;
      std::array<std::byte, 8> buffer;
      const auto n = co_await ends.first.async_read_exactly(buffer, error);
      EXPECT_EQ(n, 0u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    reader.request_stop();
    reading_task.request_stop();
    reader.join();
    reading_task.join();
    ends.first.write_all(bytes("ab"));
    auto writer = spawn([&] { EXPECT_THROW(ends.first.write_all(bytes("c")), cancelled); });
    auto writing_task = spawn([&]() -> task<> {
      std::error_code error;
      const auto n = co_await ends.first.async_write_all(bytes("d"), error);
      EXPECT_EQ(n, 0u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    writer.request_stop();
    writing_task.request_stop();
    writer.join();
    writing_task.join();
    ends.first.close();
    EXPECT_EQ(whole_text(ends.second), "ab");
  });
}

TEST_P(memory_stream_test, a_write_that_is_cancelled_in_the_middle_breaks_the_end) {
  run([] {
    auto ends = net::memory_stream::pair(2);
    std::size_t written = 0;
    auto writer = spawn([&] {
      std::error_code error;
      written = ends.first.write_all(bytes("abc"), error);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    writer.request_stop();
    writer.join();
    EXPECT_TRUE(written == 0 || written == 2) << written;
    if (written > 0) EXPECT_EQ(code_of([&] { ends.first.write_some(bytes("c")); }), std::errc::broken_pipe);
  });
}

TEST_P(memory_stream_test, lines_pass_through_a_pipe) {
  run([] {
    auto ends = net::memory_stream::pair(3);
    auto writing = spawn([&] {
      ends.first.write_all(bytes("first\r\nsecond\n"));
      ends.first.close();
    });
    buffered_reader in(ends.second);
    EXPECT_EQ(in.read_line(), "first");
    EXPECT_EQ(in.read_line(), "second");
    EXPECT_EQ(in.read_line(), std::nullopt);
    writing.join();
  });
}

class copy_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, copy_test, worker_counts, count_name);

TEST(copied_bytes, all_are_counted_up_to_the_limit) {
  auto from = pieces({"abc", "defg", "hij"});
  auto ends = net::memory_stream::pair();
  EXPECT_EQ(net::copy(from, ends.first, {.limit = 5, .buffer_size = 2}), 5u);
  EXPECT_EQ(net::copy(from, ends.first, {.limit = 0}), 0u);
  EXPECT_EQ(net::copy(from, ends.first, {.buffer_size = 0}), 5u) << "the rest was still there";
  ends.first.close();
  EXPECT_EQ(whole_text(ends.second), "abcdefghij");
}

TEST(copied_bytes, errors_of_either_side_are_reported_with_the_count) {
  scripted_stream from;
  from.steps = {{"abc", {}}, {"", std::errc::timed_out}, {"def", {}}};
  auto ends = net::memory_stream::pair();
  std::error_code error;
  EXPECT_EQ(net::copy(from, ends.first, error), 3u);
  EXPECT_EQ(error, std::errc::timed_out);
  ends.second.close();
  EXPECT_EQ(code_of([&] { net::copy(from, ends.first); }), std::errc::broken_pipe);
}

TEST_P(copy_test, tasks_copy_the_same) {
  run([] {
    auto from = pieces({"abc", "defg", "hij"});
    auto ends = net::memory_stream::pair();
    spawn([&]() -> task<> {
      const auto first = co_await net::async_copy(from, ends.first, {.limit = 5, .buffer_size = 2});
      EXPECT_EQ(first, 5u);
      std::error_code error;
      const auto second = co_await net::async_copy(from, ends.first, error);
      EXPECT_EQ(second, 5u);
      EXPECT_FALSE(error);
    }).join();
    ends.first.close();
    EXPECT_EQ(whole_text(ends.second), "abcdefghij");
  });
}

TEST_P(copy_test, a_copy_is_cancelled_where_it_reads_and_where_it_writes) {
  run([] {
    auto from = net::memory_stream::pair(), to = net::memory_stream::pair(1);
    auto waits_to_read = spawn([&] { EXPECT_THROW(net::copy(from.second, to.first), cancelled); });
    settle();
    waits_to_read.request_stop();
    waits_to_read.join();
    from.first.write_all(bytes("abc"));
    auto waits_to_write = spawn([&]() -> task<> {
      std::error_code error;
      const auto n = co_await net::async_copy(from.second, to.first, error);
      EXPECT_LE(n, 1u);
      EXPECT_EQ(error, std::errc::operation_canceled);
    });
    settle();
    waits_to_write.request_stop();
    waits_to_write.join();
  });
}

// client <-> (near, far) <-> server
struct proxied {
  std::pair<memory_stream, memory_stream> left = net::memory_stream::pair(3), right = net::memory_stream::pair(5);
  memory_stream &client = left.first, &near = left.second, &far = right.first, &server = right.second;

  void talk() {
    auto serving = spawn([this] {
      EXPECT_EQ(whole_text(server), "question?");
      server.write_all(bytes("answer!"));
      server.shutdown_write();
    });
    client.write_all(bytes("question?"));
    client.shutdown_write();
    EXPECT_EQ(whole_text(client), "answer!");
    serving.join();
  }
};

TEST_P(copy_test, a_relay_passes_both_directions_and_their_ends) {
  run([] {
    proxied p;
    net::relayed n;
    auto proxy = spawn([&] { n = net::relay(p.near, p.far); });
    p.talk();
    proxy.join();
    EXPECT_EQ(n.to_second, 9u);
    EXPECT_EQ(n.to_first, 7u);
  });
}

TEST_P(copy_test, a_task_relays_the_same) {
  run([] {
    proxied p;
    auto proxy = spawn(net::async_relay(p.near, p.far));
    p.talk();
    const auto n = proxy.join();
    EXPECT_EQ(n.to_second, 9u);
    EXPECT_EQ(n.to_first, 7u);
  });
}

TEST_P(copy_test, a_failure_of_one_direction_ends_the_relay) {
  run([] {
    proxied p, q;
    auto proxy = spawn([&] { EXPECT_EQ(code_of([&] { net::relay(p.near, p.far); }), std::errc::broken_pipe); });
    auto as_task = spawn(net::async_relay(q.near, q.far));
    for (auto* each : {&p, &q}) {
      each->server.close();
      each->client.write_all(bytes("x"));
    }
    proxy.join();
    EXPECT_EQ(code_of([&] { as_task.join(); }), std::errc::broken_pipe);
  });
}

TEST_P(copy_test, a_relay_is_cancelled_where_it_waits) {
  run([] {
    proxied p, q;
    auto proxy = spawn([&] { EXPECT_THROW(net::relay(p.near, p.far), cancelled); });
    auto as_task = spawn(net::async_relay(q.near, q.far));
    settle();
    proxy.request_stop();
    as_task.request_stop();
    proxy.join();
    EXPECT_THROW(as_task.join(), broken_promise);
  });
}

}  // namespace
}  // namespace thrum
