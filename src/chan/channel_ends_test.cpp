// What channel_ends.hpp promises.
#include <thrum/channel_ends.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <thrum/scope.hpp>

#include "support.hpp"
#include "values.hpp"

namespace thrum {
namespace {

using namespace test;

class channel_ends_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, channel_ends_test, worker_counts, count_name);

TEST_P(channel_ends_test, the_last_sender_closes_and_receivers_drain) {
  run([] {
    auto [tx, rx] = make_channel<int>(16);
    {
      auto second = tx;
      second.send(1);
      auto third = std::move(second);
      EXPECT_FALSE(second);
      tx = {};
      third.send(2);
      EXPECT_FALSE(rx.closed());
    }
    EXPECT_TRUE(rx.closed());
    EXPECT_EQ(rx.size(), 2u);
    std::vector<int> got;
    for (int v : rx) got.push_back(v);
    EXPECT_EQ(got, (std::vector{1, 2}));
    EXPECT_EQ(rx.receive(), std::nullopt);
    EXPECT_EQ(rx.try_receive(), std::nullopt);
  });
}

TEST_P(channel_ends_test, waiting_receivers_see_the_last_sender_go) {
  for (int by_thread = 0; by_thread < 2; ++by_thread) {
    run([by_thread] {
      auto [tx, rx] = make_channel<int>(0);
      scope s;
      for (int i = 0; i < 5; ++i) s.go([rx = rx]() mutable { EXPECT_EQ(rx.receive(), std::nullopt); });
      std::thread waiting([rx = rx]() mutable { EXPECT_EQ(rx.receive(), std::nullopt); });
      settle();
      if (by_thread)
        std::thread([tx = std::move(tx)] {}).join();
      else
        tx = {};
      s.join();
      waiting.join();
    });
  }
}

TEST_P(channel_ends_test, without_receivers_sending_throws_in_every_form) {
  run([] {
    auto [tx, rx] = make_channel<int>(1);
    auto second = rx;
    rx = {};
    EXPECT_FALSE(tx.closed());
    tx.send(1);
    EXPECT_EQ(second.receive(), 1);
    second = {};
    EXPECT_TRUE(tx.closed());
    EXPECT_THROW(tx.send(1), channel_closed);
    EXPECT_THROW((void)tx.try_send(1), channel_closed);
    EXPECT_THROW((void)tx.send_for(1, 24h), channel_closed);
    EXPECT_THROW((void)tx.send_until(1, clock::now()), channel_closed);
    EXPECT_THROW(select(tx.on_send(1, [] {})), channel_closed);
  });
}

TEST_P(channel_ends_test, waiting_senders_see_the_last_receiver_go_and_keep_their_elements) {
  run([] {
    auto [tx, rx] = make_channel<std::unique_ptr<int>>(0);
    std::atomic<int> refused{0};
    const auto send = [&refused](sender<std::unique_ptr<int>> t) {
      auto v = std::make_unique<int>(1);
      try {
        t.send(std::move(v));
      } catch (const channel_closed&) {
        ++refused;
      }
      EXPECT_TRUE(v);
    };
    scope s;
    for (int i = 0; i < 5; ++i) s.go([&, tx = tx] { send(tx); });
    std::thread t([&, tx = tx] { send(tx); });
    settle();
    rx = {};
    s.join();
    t.join();
    EXPECT_EQ(refused, 6);
  });
}

TEST_P(channel_ends_test, what_is_buffered_goes_with_the_last_receiver) {
  run([] {
    for (int kind = 0; kind < 2; ++kind) {
      auto [tx, rx] = kind ? make_channel<counted>(unbounded) : make_channel<counted>(1000);
      for (int i = 0; i < 1000; ++i) tx.send(counted(i));
      EXPECT_EQ(rx.receive()->value, 0);
      EXPECT_EQ(counted::alive, 999);
      rx = {};
      EXPECT_EQ(counted::alive, 0);  // Though the sender is still there.
      EXPECT_THROW(tx.send(counted(1)), channel_closed);
      EXPECT_EQ(counted::alive, 0);
    }
  });
}

TEST_P(channel_ends_test, also_where_the_scope_is_cancelled) {
  run([] {
    auto [tx, rx] = make_channel<counted>(10);
    tx.send(counted(1));
    scope s;
    s.cancel();
    rx = {};
    EXPECT_EQ(counted::alive, 0);
    tx = {};
    s.join();
  });
}

// An element that owns the other end of its own channel.
struct linked;
using linked_sender = sender<std::unique_ptr<linked>>;
struct linked {
  linked_sender back;
};

TEST_P(channel_ends_test, elements_may_own_ends_of_their_channel) {
  run([] {
    auto [tx, rx] = make_channel<std::unique_ptr<linked>>(unbounded);
    for (int i = 0; i < 3; ++i) tx.send(std::make_unique<linked>(linked{tx}));
    tx = {};
    EXPECT_FALSE(rx.closed());
    rx = {};
  });
}

TEST_P(channel_ends_test, all_forms_pass_elements) {
  run([] {
    auto [tx, rx] = make_channel<std::string>(2);
    const std::string copied = "copied";
    tx.send(copied);
    EXPECT_TRUE(tx.try_send(copied));
    EXPECT_FALSE(tx.try_send("full"));
    EXPECT_FALSE(tx.send_for("full", 1ms));
    EXPECT_FALSE(tx.send_until("full", clock::now() + 1ms));
    EXPECT_EQ(rx.receive(), copied);
    EXPECT_EQ(rx.receive_for(24h), copied);
    EXPECT_EQ(rx.receive_for(1ms), std::nullopt);
    EXPECT_EQ(rx.receive_until(clock::now()), std::nullopt);
    EXPECT_EQ(rx.try_receive(), std::nullopt);
    EXPECT_FALSE(rx.closed());
    bool sent = false;
    std::optional<std::string> got;
    select(tx.on_send("selected", [&] { sent = true; }));
    select(rx.on_receive([&](auto v) { got = std::move(v); }));
    EXPECT_TRUE(sent);
    EXPECT_EQ(got, "selected");
    tx = {};
    select(rx.on_receive([&](auto v) { got = std::move(v); }));
    EXPECT_EQ(got, std::nullopt);
  });
}

TEST_P(channel_ends_test, null_ends_block_as_null_channels_do) {
  run([] {
    sender<int> tx;
    receiver<int> rx;
    EXPECT_FALSE(tx);
    EXPECT_FALSE(rx);
    EXPECT_FALSE(tx.try_send(1));
    EXPECT_FALSE(tx.send_for(1, 1ms));
    EXPECT_EQ(rx.receive_for(1ms), std::nullopt);
    EXPECT_EQ(select(rx.on_receive([](auto) {}), tx.on_send(1, [] {}), otherwise([] {})), 2u);
  });
}

TEST_P(channel_ends_test, a_pipeline_ends_by_itself) {
  run([] {
    auto [first_tx, first_rx] = make_channel<std::unique_ptr<int>>(0);
    auto [second_tx, second_rx] = make_channel<std::unique_ptr<int>>(4);
    scope s;
    for (int k = 0; k < 3; ++k)
      s.go([tx = first_tx]() mutable {
        for (int i = 1; i <= 100; ++i) tx.send(std::make_unique<int>(i));
      });
    first_tx = {};
    for (int k = 0; k < 2; ++k)
      s.go([rx = first_rx, tx = second_tx]() mutable {
        for (auto& v : rx) {
          *v *= 2;
          tx.send(std::move(v));
        }
      });
    first_rx = {};
    second_tx = {};
    int sum = 0;
    for (auto& v : second_rx) sum += *v;
    EXPECT_EQ(sum, 3 * 5050 * 2);
    s.join();
  });
}

TEST_P(channel_ends_test, an_abandoned_pipeline_unwinds) {
  run([] {
    std::atomic<int> refused{0};
    scope s;
    {
      auto [tx, rx] = make_channel<counted>(2);
      for (int k = 0; k < 4; ++k)
        s.go([&refused, tx = tx]() mutable {
          try {
            for (int i = 0;; ++i) tx.send(counted(i));
          } catch (const channel_closed&) {
            ++refused;
          }
        });
      for (int i = 0; i < 50; ++i) EXPECT_TRUE(rx.receive());
    }
    s.join();
    EXPECT_EQ(refused, 4);
  });
  EXPECT_EQ(counted::alive, 0);
}

TEST_P(channel_ends_test, ends_that_go_while_others_send_and_receive_leak_nothing) {
  run([] {
    for (int round = 0; round < 100; ++round) {
      scope s;
      {
        auto [tx, rx] = round % 3 ? make_channel<counted>(static_cast<std::size_t>(round % 3 - 1))
                                  : make_channel<counted>(unbounded);
        for (int k = 0; k < 3; ++k) {
          s.go([tx = tx]() mutable {
            try {
              for (int i = 0; i < 10; ++i) tx.send(counted(i));
            } catch (const channel_closed&) {
            }
          });
          s.go([rx = rx, k]() mutable {
            for (int i = 0; i < 5 * k && rx.receive(); ++i) {
            }
          });
        }
      }
      s.join();
      ASSERT_EQ(counted::alive, 0);
    }
  });
}

}  // namespace
}  // namespace thrum
