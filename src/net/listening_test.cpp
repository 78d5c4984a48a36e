// Accepting while there are no descriptors.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/unix_listener.hpp>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include "context/sanitizer.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

void skip_where_descriptors_are_needed() {
#if defined(THRUM_ASAN)
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens pipes, to look at memory";
#endif
}

class listening_test : public on_workers {
 protected:
  void SetUp() override { skip_where_descriptors_are_needed(); }
};
class listening_threads : public ::testing::Test {
 protected:
  void SetUp() override { skip_where_descriptors_are_needed(); }
};
INSTANTIATE_TEST_SUITE_P(workers, listening_test, worker_counts, count_name);

// While it lives there is no descriptor to be had, whatever the runtime itself closes meanwhile.
class shortage {
 public:
  void give_back_one() {
    less_tight_.emplace(static_cast<std::size_t>(spare_.native_handle()) + 1);
    spare_.close();
  }

 private:
  descriptor spare_{::dup(0)};
  descriptor_limit tight_{3};
  std::optional<descriptor_limit> less_tight_;
};

struct waiting_connection {
  tcp_listener l = tcp_listener::bind("127.0.0.1:0");
  tcp_stream client = tcp_stream::connect(l.local_address());
  std::error_code error;
  tcp_stream accepted;

  waiting_connection() {
    // Registered by now: that takes memory only, but the first wait of all opens the poller.
    l.set_timeout(1ms);
    EXPECT_TRUE(l.accept().is_open());
    l.accept(error);
    EXPECT_EQ(error, std::errc::timed_out);
    l.set_timeout({});
    client = tcp_stream::connect(l.local_address());
  }
  fiber accept() {
    return spawn([this] { accepted = l.accept(error); });
  }
};

TEST_P(listening_test, accept_goes_on_when_a_descriptor_of_ours_is_closed) {
  run([] {
    waiting_connection c;
    shortage none;
    fiber f = c.accept();
    until_the_others_wait();
    none.give_back_one();
    f.join();
    EXPECT_FALSE(c.error);
    EXPECT_TRUE(c.accepted.is_open());
  });
}

TEST_P(listening_test, accept_goes_on_when_there_is_one_though_nobody_tells) {
  run([] {
    waiting_connection c;
    fiber f;
    {
      descriptor_limit tight(3);
      f = c.accept();
      until_the_others_wait();
    }
    f.join();
    EXPECT_FALSE(c.error);
    EXPECT_TRUE(c.accepted.is_open());
  });
}

TEST_P(listening_test, all_who_wait_get_theirs_and_the_listener_is_not_lost) {
  run([] {
    waiting_connection c;
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(tcp_stream::connect(c.l.local_address()));
    std::atomic<int> served = 0;
    {
      shortage few;
      few.give_back_one();
      scope s;
      for (int i = 0; i < 3; ++i)
        s.go([&] {
          for (std::error_code error; served < 21 && !error;) {
            auto one = c.l.accept(error);  // Closed at once, which lets another one in.
            if (!error && ++served == 21) c.l.close();
          }
        });
      s.join();
    }
    EXPECT_EQ(served, 21);
  });
}

TEST_P(listening_test, a_shortage_ends_by_cancellation_deadline_and_closing) {
  run([] {
    waiting_connection c;
    std::error_code stopped, expired, closed;
    {
      shortage none;
      fiber f = c.accept();
      until_the_others_wait();
      f.request_stop();
      f.join();
      stopped = c.error;
      c.l.set_timeout(5ms);
      c.accept().join();
      expired = c.error;
      c.l.set_timeout({});
      f = c.accept();
      until_the_others_wait();
      c.l.close();
      f.join();
      closed = c.error;
    }
    EXPECT_EQ(stopped, std::errc::operation_canceled);
    EXPECT_EQ(expired, std::errc::timed_out);
    EXPECT_EQ(closed, std::errc::bad_file_descriptor);
  });
}

TEST_P(listening_test, tasks_wait_for_descriptors_too) {
  run([] {
    waiting_connection c;
    const auto accepts = [](waiting_connection& from) -> task<> {
      from.accepted = co_await from.l.async_accept(from.error);
    };
    std::error_code stopped, expired;
    {
      shortage none;
      auto t = spawn(accepts(c));
      until_the_others_wait();
      t.request_stop();
      t.join();
      stopped = c.error;
      c.l.set_timeout(5ms);
      spawn(accepts(c)).join();
      expired = c.error;
      c.l.set_timeout({});
      t = spawn(accepts(c));
      until_the_others_wait();
      none.give_back_one();
      t.join();
    }
    EXPECT_EQ(stopped, std::errc::operation_canceled);
    EXPECT_EQ(expired, std::errc::timed_out);
    EXPECT_FALSE(c.error);
    EXPECT_TRUE(c.accepted.is_open());
  });
}

TEST_P(listening_test, a_short_supply_is_an_error_on_request) {
  run([] {
    auto l = unix_listener::bind("@thrum_short_supply_" + std::to_string(::getpid()), {.wait_for_descriptors = false});
    auto client = unix_stream::connect(l.local_address());
    std::error_code error;
    {
      shortage none;
      l.accept(error);
    }
    EXPECT_EQ(error, std::errc::too_many_files_open);
    EXPECT_TRUE(l.accept().is_open());
  });
}

TEST_F(listening_threads, a_plain_thread_waits_for_descriptors) {
  auto l = tcp_listener::bind("127.0.0.1:0");
  auto client = tcp_stream::connect(l.local_address());
  l.set_timeout(5ms);
  std::error_code error;
  {
    shortage none;
    l.accept(error);
  }
  EXPECT_EQ(error, std::errc::timed_out);
  EXPECT_TRUE(l.accept().is_open());
}

// A loop would try again some 100000 times in this time, and more on any faster machine.
TEST_F(listening_threads, a_shortage_costs_next_to_no_processor_time) {
  with_runtime({.workers = 1}, [](runtime&) {
    waiting_connection c;
    const auto used = [] {
      rusage u;
      ::getrusage(RUSAGE_SELF, &u);
      return std::chrono::seconds(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
             std::chrono::microseconds(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    };
    std::chrono::nanoseconds cost, time;
    {
      shortage none;
      fiber f = c.accept();
      until_the_others_wait();
      const auto begin = clock::now();
      const auto before = used();
      this_fiber::sleep_for(400ms);
      cost = used() - before;
      time = clock::now() - begin;
      f.request_stop();
      f.join();
    }
    EXPECT_LT(cost, time / 2);
  });
}

}  // namespace
}  // namespace thrum::net
