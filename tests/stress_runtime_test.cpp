// Storms around the runtime itself: sockets, construction and destruction, dumps, and hand-offs under all
// kinds of load.
#include <array>
#include <csignal>
#include <mutex>
#include <span>

#include <fcntl.h>
#include <sys/syscall.h>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

THRUM_STRESS_SUITE(net_storm);

void serve(net::tcp_stream s) {
  std::array<std::byte, 256> buffer;
  std::error_code error;
  for (;;) {
    const auto n = s.read_some(buffer, error);
    if (error || n == 0) return;
    s.write_all(std::span(buffer).first(n), error);
    if (error) return;
  }
}

// Sends some, reads it back, and checks every byte.
void talk(const std::string& address, dice& random) {
  auto s = net::tcp_stream::connect(address);
  std::array<std::byte, 256> out, in;
  for (auto n = random.below(4); n > 0; --n) {
    const auto size = 1 + random.below(out.size());
    for (auto& b : out) b = static_cast<std::byte>(random.below(256));
    s.write_all(std::span(out).first(size));
    s.read_exactly(std::span(in).first(size));
    ASSERT_TRUE(std::equal(out.begin(), out.begin() + size, in.begin()));
  }
  if (random.one_in(2)) s.shutdown_write();
}

TEST_P(net_storm, many_short_connections_carry_every_byte) {
  run([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    const auto address = "127.0.0.1:" + std::to_string(listener.local_port());
    fiber accepting = spawn([&] {
      for (;;) go([s = listener.accept()]() mutable { serve(std::move(s)); });
    });
    repeat([&] {
      constexpr int fibers = 20;
      wait_group all(fibers);
      for (unsigned f = 0; f < fibers; ++f) {
        go([&, f] {
          dice random(f);
          for (int i = 0; i < 2 * scale; ++i) talk(address, random);
          all.done();
        });
      }
      all.wait();
    });
  });
}

// Connections of which one side disappears while the other waits, with deadlines, cancellation and shutdown
// racing.
TEST_P(net_storm, waits_end_when_the_peer_goes_the_time_is_up_or_the_scope_is_cancelled) {
  run([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    const auto address = "127.0.0.1:" + std::to_string(listener.local_port());
    dice random(1);
    repeat([&] {
      for (int i = 0; i < 5 * scale; ++i) {
        auto client = net::tcp_stream::connect(address);
        auto server = listener.accept();
        scope s;
        s.go([&, d = random.below(100)] {
          std::array<std::byte, 16> buffer;
          std::error_code error;
          if (d % 2) server.set_timeout(std::chrono::microseconds(1 + d));
          EXPECT_EQ(server.read_some(buffer, error), 0u);
          EXPECT_TRUE(!error || error == std::errc::timed_out || error == std::errc::operation_canceled) << error;
        });
        spin(std::chrono::microseconds(random.below(50)));
        if (random.one_in(3)) this_fiber::yield();
        if (random.one_in(2))
          client.shutdown_write();
        else
          s.cancel();
        s.join();
      }
    });
  });
}

TEST_P(net_storm, large_transfers_in_both_directions_arrive_unchanged) {
  run([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    const auto address = "127.0.0.1:" + std::to_string(listener.local_port());
    repeat([&] {
      auto client = net::tcp_stream::connect(address);
      auto server = listener.accept();
      constexpr std::size_t size = 1 << 20;
      const auto push = [](net::tcp_stream& s) {
        std::vector<std::byte> data(size);
        for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * 31 >> 5);
        s.write_all(data);
      };
      const auto pull = [](net::tcp_stream& s) {
        std::vector<std::byte> data(size);
        s.read_exactly(data);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < size; ++i) wrong += data[i] != static_cast<std::byte>(i * 31 >> 5);
        EXPECT_EQ(wrong, 0u);
      };
      scope s;
      s.go([&] { push(client); });
      s.go([&] { push(server); });
      s.go([&] { pull(client); });
      s.go([&] { pull(server); });
      s.join();
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(life_storm);

TEST_P(life_storm, runtimes_come_and_go) {
  const auto descriptors = open_descriptors();
  repeat([&] {
    std::atomic<int> ran{0};  // Not all need have ended when run() returns, only when the runtime is gone.
    runtime rt({.workers = GetParam()});
    rt.run([&] {
      for (int i = 0; i < 20; ++i) go([&] { ran.fetch_add(1); });
      wait_group all(5);
      for (int i = 0; i < 5; ++i) go([&] { this_fiber::sleep_for(50us), all.done(); });
      all.wait();
    });
    // What is left is cancelled and waited for.
    rt.go([] { this_fiber::sleep_for(1h); });
  });
  EXPECT_EQ(open_descriptors(), descriptors);
}

// The thread that wakes the last fiber may still be on its way out of the runtime when that is destroyed.
TEST_P(life_storm, a_thread_may_still_be_sending_when_the_runtime_ends) {
  repeat([] {
    std::thread sender;
    thrum::run({.workers = GetParam()}, [&] {
      channel<int> ch(0);
      sender = std::thread([ch]() mutable { ch.send(1); });
      EXPECT_EQ(ch.receive(), 1);
    });
    sender.join();
  });
}

TEST_P(life_storm, a_runtime_that_never_ran_anything_ends) {
  repeat([&] { runtime rt({.workers = GetParam()}); });
}

TEST_P(life_storm, runtimes_live_side_by_side_and_talk_through_channels) {
  repeat([&] {
    runtime a({.workers = GetParam()}), b({.workers = 2});
    channel<int> c(0);
    constexpr int count = 20 * scale;
    fiber sender = a.spawn([=]() mutable {
      for (int i = 0; i < count; ++i) c.send(i);
      c.close();
    });
    int received = 0;
    b.run([&] {
      for (int v : c) EXPECT_EQ(v, received++);
    });
    sender.join();
    EXPECT_EQ(received, count);
  });
}

TEST_P(life_storm, the_end_of_the_main_fiber_cancels_all_that_still_wait) {
  repeat([&] {
    runtime rt({.workers = GetParam(), .grace = 60s});
    rt.run([] {
      channel<int> c(0);
      mutex m;
      for (int i = 0; i < 20; ++i) {
        go([=]() mutable { c.receive(); });
        go([] { this_fiber::sleep_for(1h); });
        go([] {
          for (;;) this_fiber::yield();
        });
        go([] {
          scope s;
          for (int k = 0; k < 3; ++k) s.go([] { this_fiber::sleep_for(1h); });
          s.join();
        });
      }
      this_fiber::sleep_for(100us);
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(dump_storm);

// Standard error goes elsewhere while this lives.
class silenced {
 public:
  silenced() : saved_(::dup(2)) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, 2);
    ::close(nowhere);
  }
  ~silenced() {
    ::dup2(saved_, 2);
    ::close(saved_);
  }

 private:
  int saved_;
};

TEST_P(dump_storm, dumping_disturbs_nobody) {
  const silenced quiet;
  runtime rt({.workers = GetParam()});
  std::atomic<bool> over{false};
  std::thread dumper([&] {
    for (int i = 0; !over.load(); ++i) {
      if (i % 2)
        rt.dump();
      else
        std::raise(SIGQUIT);
      std::this_thread::sleep_for(1ms);
    }
  });
  rt.run([] {
    repeat([] {
      channel<int> c(0);
      std::atomic<long> sent{0}, received{0};
      wait_group all(40);
      for (int f = 0; f < 20; ++f) {
        go([&] {
          this_fiber::set_name("sender");
          for (int i = 0; i < 10 * scale; ++i) c.send(i), sent.fetch_add(i);
          all.done();
        });
        go([&] {
          this_fiber::set_name("receiver");
          for (int i = 0; i < 10 * scale; ++i) {
            received.fetch_add(c.receive().value());
            if (i % 8 == 0) this_fiber::sleep_for(20us);
            if (i % 8 == 4) spawn([] {}).join();
          }
          all.done();
        });
      }
      all.wait();
      EXPECT_EQ(sent.load(), received.load());
    });
  });
  over.store(true);
  dumper.join();
}

// ---------------------------------------------------------------------------------------------------------------

THRUM_STRESS_SUITE(handoff_storm);

void nap_in_the_kernel(std::chrono::microseconds d) {
  timespec t{.tv_sec = 0, .tv_nsec = d.count() * 1000};
  ::syscall(SYS_nanosleep, &t, nullptr);
}

// A read that blocks the thread until somebody writes.
class blocking_pipe {
 public:
  blocking_pipe() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  ~blocking_pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  char read() {
    char c = 0;
    EXPECT_EQ(::read(ends_[0], &c, 1), 1);
    return c;
  }
  void write(char c) { EXPECT_EQ(::write(ends_[1], &c, 1), 1); }

 private:
  int ends_[2];
};

struct mixture {
  channel<int> c{2};
  mutex m;
  long guarded = 0;
  std::atomic<long> guarded_expected{0}, sent{0}, received{0};
};

void do_something(mixture& x, dice& random) {
  switch (random.below(10)) {
    case 0:
      spin(std::chrono::microseconds(random.below(3000)));
      break;
    case 1:
      nap_in_the_kernel(std::chrono::microseconds(random.below(3000)));
      break;
    case 2:
      this_fiber::sleep_for(std::chrono::microseconds(random.below(200)));
      break;
    case 3:
      this_fiber::yield();
      break;
    case 4:
    case 5: {
      std::lock_guard hold(x.m);
      ++x.guarded;
      x.guarded_expected.fetch_add(1);
      if (random.one_in(8)) spin(100us);
      break;
    }
    case 6:
      if (x.c.send_for(1, 50us)) x.sent.fetch_add(1);
      break;
    case 7:
      if (auto v = x.c.receive_for(50us)) x.received.fetch_add(*v);
      break;
    case 8:
      spawn([] { spin(5us); }).join();
      break;
    default: {
      scope s{.deadline = 2ms};
      s.go([&] { x.received.fetch_add(x.c.receive().value_or(0)); });
      s.go([] { this_fiber::sleep_for(100us); });
      s.cancel();
      try {
        s.join();
      } catch (const timed_out&) {  // It had to wait behind those who spin.
      }
    }
  }
}

void mix(std::chrono::steady_clock::time_point end) {
  mixture x;
  constexpr unsigned fibers = 12;
  wait_group all(fibers + 2);
  for (unsigned f = 0; f < fibers; ++f) {
    go([&, f] {
      dice random(f);
      while (std::chrono::steady_clock::now() < end) do_something(x, random);
      all.done();
    });
  }
  blocking_pipe there, back;
  go([&] {
    while (there.read() == 'x') back.write('x');
    all.done();
  });
  go([&] {
    while (std::chrono::steady_clock::now() < end) {
      there.write('x');
      back.read();
    }
    there.write('.');
    all.done();
  });
  all.wait();
  while (auto v = x.c.try_receive()) x.received.fetch_add(*v);
  EXPECT_EQ(x.guarded, x.guarded_expected.load());
  EXPECT_EQ(x.sent.load(), x.received.load());
}

TEST_P(handoff_storm, spinning_and_blocked_fibers_amid_everything_else) {
  run([] { mix(std::chrono::steady_clock::now() + 3 * duration()); });
}

TEST_P(handoff_storm, the_same_with_a_monitor_in_a_hurry) {
  bare_runtime rt({.processors = GetParam(), .pace = hurried});
  rt.run([] { mix(std::chrono::steady_clock::now() + 3 * duration()); });
  EXPECT_GT(rt.handoffs(), 0u);
}

TEST_P(handoff_storm, the_same_without_membarrier) {
  bare_runtime rt({.processors = GetParam(), .membarrier = false, .pace = hurried});
  rt.run([] { mix(std::chrono::steady_clock::now() + 3 * duration()); });
  EXPECT_GT(rt.handoffs(), 0u);
}

}  // namespace
}  // namespace thrum::stress
