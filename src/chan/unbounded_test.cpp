// What channel.hpp promises of unbounded channels.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <thrum/channel.hpp>
#include <thrum/scope.hpp>

#include "support.hpp"
#include "values.hpp"

namespace {

// The memory of channels, all of whose allocations name an alignment; and they can be made to fail. The runtime has a
// few such blocks too, so the counts are not exact.
std::atomic<std::int64_t> aligned_blocks{0};
std::atomic<std::int64_t> aligned_bytes{0};
std::atomic<bool> no_memory{false};

}  // namespace

constexpr const char* why_not_watched =
    "Clang's ThreadSanitizer brings its own operator new, beside which no other links";
#if defined(THRUM_TEST_TSAN_KNOWN)
constexpr bool memory_is_watched = false;
#else
constexpr bool memory_is_watched = true;
constexpr std::size_t header = 64;

void* operator new(std::size_t size, std::align_val_t align) {
  const auto a = std::max(static_cast<std::size_t>(align), header);
  if (no_memory) throw std::bad_alloc();
  auto* p = static_cast<std::byte*>(std::aligned_alloc(a, (size + a + a - 1) / a * a));
  if (!p) throw std::bad_alloc();
  *reinterpret_cast<std::size_t*>(p) = size;
  ++aligned_blocks;
  aligned_bytes += static_cast<std::int64_t>(size);
  return p + a;
}
void* operator new(std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  try {
    return operator new(size, align);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p, std::align_val_t align) noexcept {
  if (!p) return;
  auto* start = static_cast<std::byte*>(p) - std::max(static_cast<std::size_t>(align), header);
  --aligned_blocks;
  aligned_bytes -= static_cast<std::int64_t>(*reinterpret_cast<std::size_t*>(start));
  std::free(start);
}
void operator delete(void* p, std::size_t, std::align_val_t align) noexcept { operator delete(p, align); }
#endif

namespace thrum {
namespace {

using namespace test;

class unbounded_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, unbounded_test, worker_counts, count_name);

struct alignas(128) wide {
  int value;
};

TEST_P(unbounded_test, sending_never_waits_and_order_is_kept) {
  run([] {
    channel<int> ch(unbounded);
    EXPECT_EQ(ch.capacity(), SIZE_MAX);
    constexpr int count = 50'000;
    for (int i = 0; i < count; i += 2) {
      ch.send(i);
      EXPECT_TRUE(ch.try_send(i + 1));
    }
    EXPECT_EQ(ch.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) ASSERT_EQ(ch.receive(), i);
    EXPECT_EQ(ch.size(), 0u);
    EXPECT_EQ(ch.try_receive(), std::nullopt);
    EXPECT_EQ(ch.receive_for(1ms), std::nullopt);
  });
}

TEST_P(unbounded_test, a_waiting_receiver_takes_what_is_sent) {
  run([] {
    channel<std::unique_ptr<int>> ch(unbounded);
    fiber f = spawn([&] { EXPECT_EQ(**ch.receive(), 1); });
    settle();
    ch.send(std::make_unique<int>(1));
    f.join();
  });
}

TEST_P(unbounded_test, elements_of_every_size_and_alignment) {
  run([] {
    channel<char> chars(unbounded);
    channel<wide> wides(unbounded);
    channel<std::array<char, 20'000>> large(unbounded);
    for (int i = 0; i < 3000; ++i) {
      chars.send(static_cast<char>(i % 100));
      wides.send({i});
    }
    for (int i = 0; i < 3000; ++i) {
      EXPECT_EQ(chars.receive(), i % 100);
      EXPECT_EQ(wides.receive()->value, i);
    }
    for (char i = 0; i < 3; ++i) large.send({i});
    for (char i = 0; i < 3; ++i) EXPECT_EQ(large.receive()->front(), i);
  });
}

TEST_P(unbounded_test, memory_is_given_back_as_elements_are_received) {
  if (!memory_is_watched) GTEST_SKIP() << why_not_watched;
  run([] {
    channel<std::array<std::int64_t, 4>> ch(unbounded);
    const auto before = aligned_bytes.load();
    constexpr std::int64_t count = 100'000, size = 32;
    for (std::int64_t i = 0; i < count; ++i) ch.send({i});
    EXPECT_GE(aligned_bytes - before, count * size);
    EXPECT_LE(aligned_bytes - before, count * size + (128 << 10));
    for (std::int64_t i = 0; i < count / 2; ++i) ch.receive();
    EXPECT_LE(aligned_bytes - before, count / 2 * size + (128 << 10));
    for (std::int64_t i = 0; i < count / 2; ++i) ch.receive();
    EXPECT_LE(aligned_bytes - before, 64 << 10);
    // Also when a select receives.
    for (std::int64_t i = 0; i < count; ++i) ch.send({i});
    for (std::int64_t i = 0; i < count; ++i) select(ch.on_receive([](auto) {}));
    EXPECT_LE(aligned_bytes - before, 64 << 10);
  });
}

TEST_P(unbounded_test, in_balance_it_does_not_allocate) {
  if (!memory_is_watched) GTEST_SKIP() << why_not_watched;
  run([] {
    channel<int> ch(unbounded);
    ch.send(0);
    const auto before = aligned_blocks.load();
    for (int i = 0; i < 10'000; ++i) {
      ch.send(i);
      ch.receive();
      ASSERT_LE(aligned_blocks, before + 20);
    }
  });
}

TEST_P(unbounded_test, without_memory_sending_throws_and_leaves_the_element) {
  if (!memory_is_watched) GTEST_SKIP() << why_not_watched;
  run([] {
    channel<std::unique_ptr<int>> ch(unbounded);
    auto v = std::make_unique<int>(7);
    no_memory = true;
    EXPECT_THROW(ch.send(std::move(v)), std::bad_alloc);
    EXPECT_THROW((void)ch.try_send(std::move(v)), std::bad_alloc);
    EXPECT_THROW(select(ch.on_send(std::make_unique<int>(1), [] {})), std::bad_alloc);
    no_memory = false;
    ASSERT_TRUE(v);
    EXPECT_EQ(ch.size(), 0u);
    ch.send(std::move(v));
    EXPECT_FALSE(v);
    // As long as there is room no memory is needed.
    no_memory = true;
    ch.send(std::make_unique<int>(8));
    no_memory = false;
    EXPECT_EQ(**ch.receive(), 7);
    EXPECT_EQ(**ch.receive(), 8);
  });
}

TEST_P(unbounded_test, closing_drains_and_then_ends) {
  run([] {
    channel<int> ch(unbounded);
    for (int i = 0; i < 1000; ++i) ch.send(i);
    ch.close();
    EXPECT_THROW(ch.send(1), channel_closed);
    EXPECT_THROW((void)ch.try_send(1), channel_closed);
    EXPECT_THROW(select(ch.on_send(1, [] {})), channel_closed);
    int expected = 0;
    for (int v : ch) EXPECT_EQ(v, expected++);
    EXPECT_EQ(expected, 1000);
  });
}

TEST_P(unbounded_test, closing_wakes_waiting_receivers) {
  run([] {
    channel<int> ch(unbounded);
    scope s;
    for (int i = 0; i < 5; ++i) s.go([&] { EXPECT_EQ(ch.receive(), std::nullopt); });
    settle();
    ch.close();
    s.join();
  });
}

TEST_P(unbounded_test, what_is_left_is_destroyed_with_the_channel) {
  run([] {
    const auto blocks = aligned_blocks.load();
    for (int round = 0; round < 40; ++round) {
      for (int received : {0, 1, 127, 128, 129, 500, 999, 1000}) {
        {
          channel<counted> ch(unbounded);
          for (int i = 0; i < 1000; ++i) ch.send(counted(i));
          for (int i = 0; i < received; ++i) EXPECT_EQ(ch.receive()->value, i);
          EXPECT_EQ(counted::alive, 1000 - received);
        }
        EXPECT_EQ(counted::alive, 0);
      }
    }
    EXPECT_LE(aligned_blocks, blocks + 20);
  });
}

TEST_P(unbounded_test, in_a_select_sending_is_always_ready) {
  run([] {
    channel<int> ch(unbounded), never(0);
    for (int i = 0; i < 2000; ++i) {
      const auto chosen = select(never.on_receive([](auto) {}), ch.on_send(i, [] {}), otherwise([] {}));
      ASSERT_EQ(chosen, 1u);
    }
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(ch.receive(), i);
  });
}

TEST_P(unbounded_test, a_select_may_send_to_and_receive_from_the_same_one) {
  run([] {
    channel<int> ch(unbounded);
    int sent = 0, got = 0;
    for (int i = 0; i < 3000; ++i) select(ch.on_send(1, [&] { ++sent; }), ch.on_receive([&](auto v) { got += *v; }));
    EXPECT_EQ(ch.size(), static_cast<std::size_t>(sent - got));
    EXPECT_EQ(sent + got, 3000);
  });
}

TEST_P(unbounded_test, a_cancelled_call_did_not_happen) {
  run([] {
    channel<std::unique_ptr<int>> ch(unbounded);
    scope s;
    s.cancel();
    auto v = std::make_unique<int>(1);
    EXPECT_THROW(ch.send(std::move(v)), cancelled);
    EXPECT_TRUE(v);
    EXPECT_THROW((void)ch.receive(), cancelled);
    EXPECT_EQ(ch.size(), 0u);
    s.join();
  });
}

TEST_P(unbounded_test, nothing_is_lost_between_many_fibers_and_threads) {
  run([] {
    channel<counted> ch(unbounded);
    constexpr int senders = 4, each = 3000;
    std::vector<std::atomic<int>> seen(2 * senders * each);
    const auto send = [&ch](int k) {
      for (int i = 0; i < each; ++i) ch.send(counted(k * each + i));
    };
    scope receivers;
    for (int i = 0; i < 3; ++i)
      receivers.go([&] {
        for (auto& v : ch) ++seen[static_cast<std::size_t>(v.value)];
      });
    std::vector<std::thread> threads;
    for (int k = 0; k < senders; ++k) threads.emplace_back(send, senders + k);
    {
      scope s;
      for (int k = 0; k < senders; ++k) s.go([&, k] { send(k); });
      s.join();
    }
    for (auto& t : threads) t.join();
    ch.close();
    receivers.join();
    for (auto& n : seen) ASSERT_EQ(n, 1);
  });
  EXPECT_EQ(counted::alive, 0);
}

}  // namespace
}  // namespace thrum
