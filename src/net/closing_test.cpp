// Closing a socket that others are about to use: none of their calls may meet the file that gets its number next.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/net/unix_stream.hpp>

#include <atomic>
#include <cstddef>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

constexpr std::byte ours{'o'}, anothers{'a'};
constexpr int rounds = 200;

class closing_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, closing_test, worker_counts, count_name);

// What the reader finds until the stream is closed under it: its own bytes only.
void read_until_closed(unix_stream& s, std::atomic<bool>& reads) {
  std::byte b;
  for (std::error_code error;;) {
    const auto n = s.read_some({&b, 1}, error);
    reads = true;
    if (error == std::errc::timed_out) continue;
    if (error) {
      EXPECT_EQ(error, std::errc::bad_file_descriptor);
      return;
    }
    ASSERT_EQ(n, 1u);
    ASSERT_EQ(b, ours);
  }
}

// The system gives the number that is free now to the next who asks. The others' bytes are there at once.
struct others {
  std::vector<std::pair<unix_stream, unix_stream>> pairs;
  others() {
    for (int i = 0; i < 2; ++i) {
      pairs.push_back(unix_stream::pair());
      for (auto* end : {&pairs.back().first, &pairs.back().second}) end->write_all({&anothers, 1});
    }
  }
};

TEST_P(closing_test, a_fiber_never_reads_what_is_anothers) {
  run([] {
    for (int i = 0; i < rounds; ++i) {
      auto ends = unix_stream::pair();
      const std::vector<std::byte> plenty(i % 7, ours);  // Some reads do not wait, so that the next is about to come.
      ends.second.write_all(plenty);
      std::atomic<bool> reads = false;
      fiber reader = spawn([&] { read_until_closed(ends.first, reads); });
      for (int turn = i % 5; turn > 0 && !reads; --turn) ends.second.write_all({&ours, 1});
      ends.first.close();
      const others come;
      reader.join();
    }
  });
}

// A plain thread that waits is not woken: it finds out when its time is over.
TEST_P(closing_test, nor_does_a_thread) {
  run([] {
    for (int i = 0; i < rounds; ++i) {
      auto ends = unix_stream::pair();
      ends.first.set_timeout(1ms);
      std::atomic<bool> reads = false;
      std::thread reader([&] { read_until_closed(ends.first, reads); });
      while (!reads) ends.second.write_all({&ours, 1});
      ends.first.close();
      const others come;
      reader.join();
    }
  });
}

TEST_P(closing_test, nor_does_a_task) {
  run([] {
    for (int i = 0; i < rounds; ++i) {
      auto ends = unix_stream::pair();
      auto reader = spawn([](unix_stream& s) -> task<> {
        std::byte b;
        for (std::error_code error;;) {
          (void)co_await s.async_read_some({&b, 1}, error);
          if (error) {
            EXPECT_EQ(error, std::errc::bad_file_descriptor);
            co_return;
          }
          EXPECT_EQ(b, ours);
        }
      }(ends.first));
      for (int turn = i % 5; turn > 0; --turn) ends.second.write_all({&ours, 1});
      ends.first.close();
      const others come;
      reader.join();
    }
  });
}

TEST_P(closing_test, a_writer_never_writes_to_another) {
  run([] {
    for (int i = 0; i < rounds; ++i) {
      auto ends = unix_stream::pair();
      std::atomic<bool> writes = false;
      fiber writer = spawn([&] {
        for (std::error_code error; !error; writes = true) ends.first.write_some({&ours, 1}, error);
      });
      for (int turn = i % 5; turn > 0 && !writes; --turn) this_fiber::yield();
      ends.first.close();
      others come;
      writer.join();
      for (auto& [a, b] : come.pairs)
        for (auto* end : {&a, &b}) {
          std::byte bytes[4];
          EXPECT_EQ(end->read_some(bytes), 1u);
          EXPECT_EQ(bytes[0], anothers);
        }
    }
  });
}

TEST_P(closing_test, a_select_does_not_wait_for_another) {
  run([] {
    for (int i = 0; i < rounds; ++i) {
      auto ends = unix_stream::pair();
      fiber reader = spawn([&] {
        for (std::error_code error; !error;) try {
            select(ends.first.on_readable([&] {
              std::byte b = ours;
              ends.first.read_some({&b, 1}, error);
              EXPECT_EQ(b, ours);
            }));
          } catch (const std::system_error& e) {
            error = e.code();
          }
        EXPECT_FALSE(ends.first.is_open());
      });
      for (int turn = i % 5; turn > 0; --turn) ends.second.write_all({&ours, 1});
      ends.first.close();
      others come;
      auto& [a, b] = come.pairs.front();
      std::byte bytes[2];
      a.read_some(bytes);
      fiber other = spawn([&] { a.read_some(bytes); });  // Waits, perhaps with the watch that was the reader's.
      reader.join();
      b.write_all({&anothers, 1});
      other.join();
    }
  });
}

// A listener that is closed while several accept, and a second one that gets its number.
TEST_P(closing_test, nobody_accepts_for_another_listener) {
  run([] {
    for (int i = 0; i < rounds / 10; ++i) {
      auto first = tcp_listener::bind("127.0.0.1:0");
      const auto to = first.local_address();
      std::vector<tcp_stream> clients;
      for (int c = 0; c < 4; ++c) clients.push_back(tcp_stream::connect(to));
      std::atomic<int> accepted = 0;
      std::vector<fiber> acceptors;
      for (int a = 0; a < 3; ++a)
        acceptors.push_back(spawn([&] {
          for (std::error_code error; !error;) {
            auto one = first.accept(error);
            if (error) {
              EXPECT_EQ(error, std::errc::bad_file_descriptor);
            } else {
              EXPECT_EQ(one.local_address(), to);
              ++accepted;
            }
          }
        }));
      for (int turn = i % 5; turn > 0 && accepted < 4; --turn) this_fiber::yield();
      first.close();
      auto second = tcp_listener::bind("127.0.0.1:0");
      auto client = tcp_stream::connect(second.local_address());
      for (auto& a : acceptors) a.join();
      EXPECT_TRUE(second.accept().is_open());
    }
  });
}

// Who waits is woken; who comes later is told the same; a second close() is none.
TEST_P(closing_test, everybody_is_told_the_same) {
  run([] {
    auto ends = unix_stream::pair();
    std::atomic<bool> reads = false;
    fiber reader = spawn([&] { read_until_closed(ends.first, reads); });
    until_the_others_wait();
    ends.first.close();
    ends.first.close();
    reader.join();
    EXPECT_FALSE(ends.first.is_open());
    EXPECT_EQ(ends.first.native_handle(), -1);
    std::error_code error;
    std::byte b{};
    ends.first.read_some({&b, 1}, error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    ends.first.write_some({&b, 1}, error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    ends.first.wait_readable(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    ends.first.shutdown_write(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    EXPECT_EQ(ends.second.read_some({&b, 1}, error), 0u);  // The end of the stream.
    EXPECT_FALSE(error);
  });
}

}  // namespace
}  // namespace thrum::net
