// Peers that behave badly, by the hundred: they reset, go silent, dribble, never read, or come when there are no
// descriptors. Each harms its own connection only: a witness beside them gets on, and afterwards nothing is left.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thrum/net/descriptor.hpp>

#include "context/sanitizer.hpp"
#include "network_support.hpp"

namespace thrum {
namespace {

using namespace test;

#if defined(THRUM_TSAN) || defined(THRUM_ASAN)
constexpr int scale = 1;
#else
constexpr int scale = 4;
#endif

constexpr std::uint64_t peers = 20 * scale;  // That behave badly, in each storm.

class storm_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, storm_test, worker_counts, count_name);

void echo(tcp_stream c) { echo_all(c); }

// Lines back, within a time for each read; an unfinished line is no line.
void echo_lines(tcp_stream c) {
  c.set_timeout(hang_guard);
  net::buffered_reader in(c, {.limit = 256});
  while (const auto line = in.read_until("\n")) c.write_all(bytes(*line));
}

bool is_reset(const std::error_code& e) {
  return e == std::errc::connection_reset || e == std::errc::broken_pipe || e == std::errc::connection_aborted;
}

TEST_P(storm_test, resets_end_their_own_connections_only) {
  run([] {
    std::atomic<int> strange = 0;
    const auto told = [&](const std::exception_ptr& failure) {
      if (!is_reset(code_of([&] { std::rethrow_exception(failure); }))) ++strange;
    };
    const auto r = with_witness(echo,
                                [](auto& server, const witness& beside) {
                                  const std::string much(20'000, 'x');
                                  for_each_concurrent(std::vector<int>(peers), 20, [&](int) {
                                    auto c = tcp_stream::connect(here(server.listener()));
                                    c.write_all(bytes(much));
                                    c.set_option(net::reset_on_close(true));
                                  });
                                  EXPECT_TRUE(beside.progresses());
                                  EXPECT_TRUE(eventually([&] { return ended(server.report()) == peers; }));
                                },
                                {.on_failure = told});
    EXPECT_GT(r.failed, 0u);
    EXPECT_EQ(strange, 0);
  });
}

// Half open: they have ended their side, or say nothing, and neither read nor close.
TEST_P(storm_test, silent_peers_time_out) {
  run([] {
    std::atomic<bool> impatient = false;
    const auto handler = [&](tcp_stream c) {
      if (impatient) c.set_timeout(20ms);
      echo_all(c);
    };
    std::vector<tcp_stream> silent;
    const auto r = with_witness(handler, [&](auto& server, const witness& beside) {
      EXPECT_TRUE(beside.progresses());
      impatient = true;
      while (silent.size() < 2 * peers) {
        silent.push_back(tcp_stream::connect(here(server.listener())));
        if (silent.size() % 2) silent.back().shutdown_write();
      }
      EXPECT_TRUE(eventually([&] { return ended(server.report()) == 2 * peers; }));
    });
    EXPECT_EQ(r.failed, peers);
    EXPECT_EQ(code_of([&] { std::rethrow_exception(r.first_failure); }), std::errc::timed_out);
  });
}

// A byte now and then satisfies every time-out, so it takes a deadline.
TEST_P(storm_test, dribbling_peers_meet_the_deadline_of_their_request) {
  run([] {
    std::atomic<bool> strict = false;
    const auto handler = [&](tcp_stream c) {
      if (strict) c.set_deadline(clock::now() + 50ms);
      net::buffered_reader in(c, {.limit = 1 << 20});
      while (const auto line = in.read_until("\n")) c.write_all(bytes(*line));
    };
    const auto r = with_witness(handler, [&](auto& server, const witness& beside) {
      EXPECT_TRUE(beside.progresses());
      strict = true;
      scope dribbling;
      for (std::uint64_t i = 0; i < peers; ++i) {
        dribbling.go([&] {
          auto c = tcp_stream::connect(here(server.listener()));
          for (std::error_code error; !error; this_fiber::sleep_for(2ms)) c.write_some(bytes("x"), error);
        });
      }
      dribbling.join();  // Each has seen its connection end.
      EXPECT_TRUE(eventually([&] { return server.report().failed == peers; }));
    });
    EXPECT_EQ(code_of([&] { std::rethrow_exception(r.first_failure); }), std::errc::timed_out);
  });
}

TEST_P(storm_test, endless_lines_meet_the_limit) {
  run([] {
    const auto r = with_witness(echo_lines, [](auto& server, const witness&) {
      const std::string endless(4096, 'x');
      for_each_concurrent(std::vector<int>(peers), 10, [&](int) {
        auto c = tcp_stream::connect(here(server.listener()));
        for (std::error_code error; !error;) c.write_some(bytes(endless), error);
      });
      EXPECT_TRUE(eventually([&] { return server.report().failed == peers; }));
    });
    EXPECT_EQ(code_of([&] { std::rethrow_exception(r.first_failure); }), std::errc::message_size);
  });
}

// They ask for much, and read nothing of it.
constexpr std::uint64_t deaf_peers = 4;

TEST_P(storm_test, writers_time_out_on_peers_that_do_not_read) {
  run([] {
    const auto handler = [](tcp_stream c) {
      net::buffered_reader in(c);
      while (const auto line = in.read_until("\n")) {
        if (*line != "much\n") {
          c.write_all(bytes(*line));
          continue;
        }
        c.set_timeout(20ms);
        c.write_all(std::vector<std::byte>(std::size_t{16} << 20));
      }
    };
    std::vector<tcp_stream> deaf;
    const auto r = with_witness(handler, [&](auto& server, const witness&) {
      for (std::uint64_t i = 0; i < deaf_peers; ++i) {
        deaf.push_back(tcp_stream::connect(here(server.listener())));
        deaf.back().write_all(bytes("much\n"));
      }
      EXPECT_TRUE(eventually([&] { return server.report().failed == deaf_peers; }));
    });
    EXPECT_EQ(code_of([&] { std::rethrow_exception(r.first_failure); }), std::errc::timed_out);
  });
}

TEST_P(storm_test, lines_in_segments_of_a_byte_arrive_whole) {
  run([] {
    const auto r = with_witness(echo_lines, [](auto& server, const witness&) {
      for_each_concurrent(std::vector<int>(10), 10, [&](int) {
        auto c = tcp_stream::connect(here(server.listener()));
        const std::string text = "one\n\ntwo, which is longer\r\n" + std::string(200, 'y') + "\n";
        for (const char& each : text) c.write_all(std::as_bytes(std::span(&each, 1)));
        EXPECT_EQ(read_whole(c, text.size()), text);
        c.shutdown_write();
        EXPECT_EQ(read_text(c), "");
      });
    });
    EXPECT_EQ(r.failed, 0u);
  });
}

TEST_P(storm_test, accepting_goes_on_when_there_are_descriptors_again) {
#if defined(THRUM_ASAN)
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens pipes, to look at memory";
#endif
  run([] {
    const auto r = with_witness(echo, [](auto& server, const witness& beside) {
      EXPECT_TRUE(beside.progresses());
      std::vector<tcp_stream> waiting;
      {
        std::vector<net::descriptor> taken;
        const descriptor_limit tight(open_descriptors() + 16);
        for (int fd; (fd = ::dup(0)) >= 0;) taken.emplace_back(fd);
        for (int left = 5; left > 0; --left) taken.pop_back();
        // We and those who accept share what is left, so that one at least finds nobody to accept it.
        for (std::error_code error; !error;) {
          auto c = tcp_stream::connect(here(server.listener()), hang_guard, error);
          if (!error) waiting.push_back(std::move(c));
        }
        EXPECT_GE(waiting.size(), 3u);
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(beside.progresses());
      }
      for (auto& c : waiting) {
        c.write_all(bytes("served"));
        EXPECT_EQ(read_whole(c, 6), "served");
      }
    });
    EXPECT_EQ(r.failed, 0u);
  });
}

std::size_t bytes_in_use() {
  const auto m = ::mallinfo2();
  return m.uordblks + m.hblkhd;
}

// Half of them reset, so that neither end lingers.
void come_and_go(const std::string& address, int times) {
  for_each_concurrent(std::vector<int>(static_cast<std::size_t>(times)), 8, [&](int) {
    auto c = tcp_stream::connect(address);
    c.write_all(bytes("x"));
    EXPECT_EQ(read_whole(c, 1), "x");
    c.set_option(net::reset_on_close(true));
  });
}

// Pools grow with the most that there were at once; a leak grows every time. Under sanitizers, which allocate by
// themselves, the number is zero, and AddressSanitizer looks for leaks.
TEST_P(storm_test, connections_that_come_and_go_leave_no_memory) {
  run([] {
    constexpr int times = 200 * scale;
    with_witness(echo, [](auto& server, const witness& beside) {
      bool grew = true;
      for (std::uint64_t round = 1; grew && round <= 10; ++round) {
        const auto before = bytes_in_use();
        come_and_go(here(server.listener()), times);
        EXPECT_TRUE(eventually([&] { return ended(server.report()) == round * times; }));
        grew = bytes_in_use() > before + times;  // A byte for each.
      }
      EXPECT_FALSE(grew);
      EXPECT_TRUE(beside.progresses());
    });
  });
}

// As many as THRUM_TEST_CONNECTIONS says, which the limit of descriptors bounds: two for each.
std::size_t idle_connections() {
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const char* wanted = std::getenv("THRUM_TEST_CONNECTIONS");
  const std::size_t count = wanted ? std::strtoull(wanted, nullptr, 10) : std::size_t{250} * scale;
  return std::min<std::size_t>(count, (limit.rlim_cur - open_descriptors() - 64) / 2);
}

TEST_P(storm_test, idle_connections_cost_the_others_nothing_and_are_served_when_they_wake_up) {
  run([] {
    const auto count = idle_connections();
    const auto r = with_witness(echo,
                                [&](auto& server, const witness& beside) {
                                  std::vector<tcp_stream> idle;
                                  while (idle.size() < count)
                                    idle.push_back(tcp_stream::connect(here(server.listener())));
                                  EXPECT_TRUE(beside.progresses());
                                  for (auto& c : idle) {
                                    c.write_all(bytes("awake"));
                                    EXPECT_EQ(read_whole(c, 5), "awake");
                                  }
                                },
                                {.max_connections = count + 1});
    EXPECT_EQ(r.served + r.drained, count + 1);
  });
}

}  // namespace
}  // namespace thrum
