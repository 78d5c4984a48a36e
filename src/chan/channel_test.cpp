// What channel.hpp promises.
#include <thrum/channel.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class channel_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, channel_test, worker_counts, count_name);

TEST_P(channel_test, unbuffered_is_a_rendezvous) {
  run([] {
    channel<int> ch(0);
    EXPECT_EQ(ch.capacity(), 0u);
    std::atomic<bool> sent{false};
    fiber f = spawn([&] {
      ch.send(1);
      sent = true;
    });
    settle();
    EXPECT_FALSE(sent);  // Nobody has taken it.
    EXPECT_EQ(ch.size(), 0u);
    EXPECT_EQ(ch.receive(), 1);
    f.join();
    EXPECT_TRUE(sent);
  });
}

TEST_P(channel_test, a_waiting_receiver_takes_what_is_sent) {
  run([] {
    channel<std::string> ch(0);
    fiber f = spawn([&] { EXPECT_EQ(ch.receive(), "a longer text that needs memory of its own"); });
    settle();
    ch.send("a longer text that needs memory of its own");
    f.join();
  });
}

TEST_P(channel_test, buffered_suspends_only_when_full) {
  run([] {
    channel<int> ch(3);
    for (int i = 0; i < 3; ++i) ch.send(i);
    EXPECT_EQ(ch.size(), 3u);
    EXPECT_EQ(ch.capacity(), 3u);
    EXPECT_FALSE(ch.try_send(3));
    std::atomic<bool> sent{false};
    fiber f = spawn([&] {
      ch.send(3);
      sent = true;
    });
    settle();
    EXPECT_FALSE(sent);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(ch.receive(), i);
    f.join();
  });
}

TEST_P(channel_test, is_first_in_first_out_for_every_sender) {
  for (std::size_t capacity : {0u, 1u, 7u, 64u}) {
    run([capacity] {
      channel<int> ch(capacity);
      constexpr int each = 300;
      scope s;
      for (int k = 0; k < 3; ++k)
        s.go([&ch, k] {
          for (int i = 0; i < each; ++i) ch.send(k * each + i);
        });
      int last[3] = {-1, -1, -1};
      for (int i = 0; i < 3 * each; ++i) {
        const int v = *ch.receive();
        EXPECT_GT(v % each, last[v / each]);
        last[v / each] = v % each;
      }
      s.join();
      EXPECT_EQ(ch.size(), 0u);
    });
  }
}

TEST_P(channel_test, waiting_senders_and_receivers_are_served_in_fifo_order) {
  run([] {
    channel<int> ch(0);
    std::vector<fiber> senders, receivers;
    for (int i = 0; i < 5; ++i) {
      senders.push_back(spawn([&ch, i] { ch.send(i); }));
      until_the_others_wait();
    }
    for (int i = 0; i < 5; ++i) EXPECT_EQ(ch.receive(), i);
    std::vector<int> got(5);
    for (std::size_t i = 0; i < 5; ++i) {
      receivers.push_back(spawn([&, i] { got[i] = *ch.receive(); }));
      until_the_others_wait();
    }
    for (int i = 0; i < 5; ++i) ch.send(i);
    for (auto& f : senders) f.join();
    for (auto& f : receivers) f.join();
    EXPECT_EQ(got, (std::vector{0, 1, 2, 3, 4}));
  });
}

TEST_P(channel_test, nothing_is_lost_or_doubled_between_many) {
  for (std::size_t capacity : {0u, 4u}) {
    run([capacity] {
      channel<int> ch(capacity);
      constexpr int senders = 6, each = 250;
      std::vector<std::atomic<int>> seen(senders * each);
      scope receivers;
      for (int i = 0; i < 5; ++i)
        receivers.go([&] {
          for (int v : ch) ++seen[static_cast<std::size_t>(v)];
        });
      {
        scope s;
        for (int k = 0; k < senders; ++k)
          s.go([&ch, k] {
            for (int i = 0; i < each; ++i) ch.send(k * each + i);
          });
        s.join();
      }
      ch.close();
      receivers.join();
      for (auto& n : seen) ASSERT_EQ(n, 1);
    });
  }
}

TEST_P(channel_test, closing_drains_and_then_ends) {
  run([] {
    channel<int> ch(4);
    ch.send(1);
    ch.send(2);
    EXPECT_FALSE(ch.closed());
    ch.close();
    EXPECT_TRUE(ch.closed());
    EXPECT_EQ(ch.receive(), 1);
    EXPECT_EQ(ch.try_receive(), 2);
    EXPECT_EQ(ch.receive(), std::nullopt);
    EXPECT_EQ(ch.try_receive(), std::nullopt);
    EXPECT_EQ(ch.receive_for(24h), std::nullopt);
  });
}

TEST_P(channel_test, closing_wakes_waiting_receivers) {
  run([] {
    channel<int> ch(0);
    scope s;
    for (int i = 0; i < 10; ++i) s.go([&] { EXPECT_EQ(ch.receive(), std::nullopt); });
    settle();
    ch.close();
    s.join();
  });
}

TEST_P(channel_test, sending_on_a_closed_channel_throws_in_every_form) {
  run([] {
    channel<int> ch(1);
    ch.close();
    EXPECT_THROW(ch.send(1), channel_closed);
    EXPECT_THROW((void)ch.try_send(1), channel_closed);
    EXPECT_THROW((void)ch.send_for(1, 24h), channel_closed);
    EXPECT_THROW((void)ch.send_until(1, clock::now()), channel_closed);
    EXPECT_THROW(ch.close(), channel_closed);
    EXPECT_THROW(ch.close(), std::logic_error);
  });
}

TEST_P(channel_test, closing_throws_in_senders_that_already_wait) {
  run([] {
    channel<std::unique_ptr<int>> ch(0);
    scope s;
    std::atomic<int> refused{0};
    for (int i = 0; i < 10; ++i)
      s.go([&, i] {
        auto v = std::make_unique<int>(i);
        try {
          ch.send(std::move(v));
        } catch (const channel_closed&) {
          ++refused;
        }
        ASSERT_TRUE(v);  // Unmoved.
        EXPECT_EQ(*v, i);
      });
    settle();
    ch.close();
    s.join();
    EXPECT_EQ(refused, 10);
  });
}

TEST_P(channel_test, what_is_buffered_survives_a_close_that_refuses_waiting_senders) {
  run([] {
    channel<int> ch(1);
    ch.send(1);
    fiber f = spawn([&] { EXPECT_THROW(ch.send(2), channel_closed); });
    settle();
    ch.close();
    f.join();
    EXPECT_EQ(ch.receive(), 1);
    EXPECT_EQ(ch.receive(), std::nullopt);
  });
}

TEST_P(channel_test, a_failed_send_leaves_its_argument_unmoved) {
  run([] {
    channel<std::unique_ptr<int>> ch(1);
    auto v = std::make_unique<int>(5);
    const int* address = v.get();
    ch.send(std::make_unique<int>(0));
    EXPECT_FALSE(ch.try_send(std::move(v)));
    EXPECT_EQ(v.get(), address);
    EXPECT_FALSE(ch.send_for(std::move(v), 1ms));
    EXPECT_EQ(v.get(), address);
    EXPECT_FALSE(ch.send_until(std::move(v), clock::now()));
    EXPECT_EQ(v.get(), address);
    fiber f = spawn([&] { EXPECT_THROW(ch.send(std::move(v)), cancelled); });
    settle();
    f.request_stop();
    f.join();
    EXPECT_EQ(v.get(), address);
    ch.close();
    EXPECT_THROW(ch.send(std::move(v)), channel_closed);
    EXPECT_THROW((void)ch.try_send(std::move(v)), channel_closed);
    EXPECT_EQ(v.get(), address);
  });
}

TEST_P(channel_test, a_successful_send_moves_its_argument) {
  run([] {
    channel<std::unique_ptr<int>> ch(2);
    auto a = std::make_unique<int>(1), b = std::make_unique<int>(2), c = std::make_unique<int>(3);
    EXPECT_TRUE(ch.try_send(std::move(a)));
    EXPECT_TRUE(ch.send_for(std::move(b), 24h));
    EXPECT_FALSE(a);
    EXPECT_FALSE(b);
    fiber f = spawn([&] { ch.send(std::move(c)); });
    EXPECT_EQ(**ch.receive(), 1);
    EXPECT_EQ(**ch.receive(), 2);
    EXPECT_EQ(**ch.receive(), 3);
    f.join();
    EXPECT_FALSE(c);
  });
}

TEST_P(channel_test, a_null_channel_blocks_for_ever) {
  run([] {
    channel<int> none;
    EXPECT_FALSE(none);
    EXPECT_FALSE(none.try_send(1));
    EXPECT_EQ(none.try_receive(), std::nullopt);
    EXPECT_FALSE(none.send_for(1, 1ms));
    EXPECT_EQ(none.receive_for(1ms), std::nullopt);
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(none.capacity(), 0u);
    EXPECT_FALSE(none.closed());
    EXPECT_THROW(none.close(), std::logic_error);
    fiber sender = spawn([&] { EXPECT_THROW(none.send(1), cancelled); });
    fiber receiver = spawn([&] { EXPECT_THROW(none.receive(), cancelled); });
    settle();
    sender.request_stop();
    receiver.request_stop();
    sender.join();
    receiver.join();
  });
}

TEST_P(channel_test, copies_are_handles_to_one_channel) {
  run([] {
    channel<int> a(2);
    channel<int> b = a, other(2);
    EXPECT_TRUE(a == b);
    EXPECT_FALSE(a == other);
    b.send(1);
    EXPECT_EQ(a.receive(), 1);
    channel<int> moved = std::move(b);
    EXPECT_FALSE(b);
    EXPECT_TRUE(moved == a);
    a = other;
    EXPECT_TRUE(a == other);
    moved.send(9);
    EXPECT_EQ(moved.receive(), 9);
  });
}

struct counted {
  explicit counted(std::atomic<int>& alive) noexcept : alive(&alive) { ++alive; }
  counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
  ~counted() { --*alive; }
  std::atomic<int>* alive;
};

TEST_P(channel_test, the_last_handle_destroys_what_is_buffered) {
  run([] {
    std::atomic<int> alive{0};
    {
      channel<counted> ch(8);
      for (int i = 0; i < 5; ++i) ch.send(counted(alive));
      (void)ch.receive();
      EXPECT_EQ(alive, 4);
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(channel_test, elements_are_neither_leaked_nor_destroyed_twice) {
  for (std::size_t capacity : {0u, 3u}) {
    run([capacity] {
      std::atomic<int> alive{0};
      {
        channel<counted> ch(capacity);
        scope s;
        s.go([&] {
          for (int i = 0; i < 200; ++i) ch.send(counted(alive));
          for (int i = 0; i < 20; ++i) (void)ch.send_for(counted(alive), 0ms);
          ch.close();
        });
        s.go([&] {
          while (ch.receive()) {
          }
        });
        s.join();
      }
      EXPECT_EQ(alive, 0);
    });
  }
}

TEST_P(channel_test, over_aligned_and_large_elements) {
  run([] {
    struct alignas(128) wide {
      char bytes[384];
    };
    channel<wide> ch(3);
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 3; ++i) {
        wide w{};
        w.bytes[383] = static_cast<char>(i);
        ch.send(std::move(w));
      }
      for (int i = 0; i < 3; ++i) {
        const auto got = ch.receive();
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*got) % 128, 0u);
        EXPECT_EQ(got->bytes[383], i);
      }
    }
  });
}

TEST_P(channel_test, an_impossible_capacity_is_a_length_error) {
  EXPECT_THROW((void)channel<int>(std::numeric_limits<std::size_t>::max()), std::length_error);
  EXPECT_THROW((void)channel<int>(std::numeric_limits<std::size_t>::max() / 4), std::length_error);
}

TEST_P(channel_test, range_for_ends_when_it_is_closed_and_drained) {
  run([] {
    channel<std::unique_ptr<int>> ch(2);
    go([ch]() mutable {
      for (int i = 0; i < 50; ++i) ch.send(std::make_unique<int>(i));
      ch.close();
    });
    int next = 0;
    for (auto& v : ch) EXPECT_EQ(*v, next++);
    EXPECT_EQ(next, 50);
    for (auto& v : ch) ADD_FAILURE() << *v;
  });
}

TEST_P(channel_test, timed_operations_wait_as_long_as_asked) {
  run([] {
    channel<int> ch(0);
    const auto start = clock::now();
    EXPECT_EQ(ch.receive_for(3ms), std::nullopt);
    EXPECT_FALSE(ch.closed());
    EXPECT_FALSE(ch.send_until(1, start + 6ms));
    EXPECT_GE(clock::now() - start, 6ms);
    EXPECT_EQ(ch.receive_until(start), std::nullopt);
    // An element that is there is taken although the time is up.
    fiber f = spawn([&] { ch.send(4); });
    EXPECT_TRUE(eventually([&] { return ch.receive_for(0ms) == 4; }));
    f.join();
  });
}

TEST_P(channel_test, works_between_threads_and_fibers) {
  run([] {
    channel<int> to_thread(0), to_fiber(2);
    std::thread t([&] {
      for (int v : to_thread) to_fiber.send(v * 2);
      to_fiber.close();
    });
    fiber f = spawn([&] {
      for (int i = 0; i < 200; ++i) to_thread.send(i);
      to_thread.close();
    });
    int expected = 0;
    for (int v : to_fiber) {
      EXPECT_EQ(v, expected);
      expected += 2;
    }
    EXPECT_EQ(expected, 400);
    f.join();
    t.join();
  });
}

TEST(channel, works_between_threads_alone) {
  channel<int> ch(0);
  std::vector<std::thread> senders;
  for (int k = 0; k < 3; ++k)
    senders.emplace_back([&] {
      for (int i = 1; i <= 200; ++i) ch.send(i);
    });
  long sum = 0;
  for (int i = 0; i < 600; ++i) sum += *ch.receive();
  for (auto& t : senders) t.join();
  EXPECT_EQ(sum, 3 * 200 * 201 / 2);
  EXPECT_EQ(ch.receive_for(1ms), std::nullopt);
  EXPECT_EQ(ch.try_receive(), std::nullopt);
  EXPECT_FALSE(ch.try_send(1));
}

TEST_P(channel_test, try_operations_throw_in_a_cancelled_scope_and_do_nothing) {
  run([] {
    channel<std::unique_ptr<int>> ch(1), none;
    scope s;
    s.cancel();
    auto v = std::make_unique<int>(1);
    EXPECT_THROW((void)ch.try_send(std::move(v)), cancelled);
    EXPECT_TRUE(v);
    EXPECT_EQ(ch.size(), 0u);
    EXPECT_THROW((void)ch.try_receive(), cancelled);
    EXPECT_THROW((void)none.try_send(std::move(v)), cancelled);
    EXPECT_THROW((void)none.try_receive(), cancelled);
    s.join();
  });
}

TEST(channel, closing_wakes_the_fibers_of_several_runtimes_each_in_its_own) {
  channel<int> ch(0);
  std::atomic<int> waiting{0}, ended{0};
  runtime a({.workers = 1}), b({.workers = 2});
  runtime* const homes[] = {&a, &b, &b, &a, &b};
  for (auto* home : homes)
    home->go([&, ch]() mutable {
      waiting.fetch_add(1);
      EXPECT_EQ(ch.receive(), std::nullopt);
      ended.fetch_add(1);
    });
  while (waiting.load() < 5) std::this_thread::yield();
  std::this_thread::sleep_for(5ms);
  ch.close();
  while (ended.load() < 5) std::this_thread::yield();
  // Each has counted its own: otherwise they would wait for ever when they are destroyed.
  while (a.stats().fibers != 0 || b.stats().fibers != 0) std::this_thread::yield();
}

}  // namespace
}  // namespace thrum
