// Classic concurrent programs, with exact results.
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class classics : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(F&& f) {
    with_workers(GetParam(), std::forward<F>(f));
  }
};
INSTANTIATE_TEST_SUITE_P(workers, classics, ::testing::Values(1u, 2u, 4u, 16u), count_name);

// McIlroy's sieve: each prime is a filter that passes on what it does not divide.
TEST_P(classics, prime_sieve_through_a_chain_of_filters) {
  run([] {
    std::vector<int> primes;
    scope all;
    channel<int> numbers(0);
    all.go([numbers]() mutable {
      for (int i = 2;; ++i) numbers.send(i);
    });
    while (primes.size() < 60) {
      const int prime = *numbers.receive();
      primes.push_back(prime);
      channel<int> filtered(0);
      all.go([numbers, filtered, prime]() mutable {
        for (;;)
          if (const int n = *numbers.receive(); n % prime != 0) filtered.send(n);
      });
      numbers = filtered;
    }
    all.cancel();
    EXPECT_EQ(primes.front(), 2);
    EXPECT_EQ(primes.back(), 281);
    EXPECT_EQ(std::accumulate(primes.begin(), primes.end(), 0), 7699);
  });
}

// Kung and Leiserson: rows flow from the west, columns from the north, each cell multiplies and passes on.
constexpr std::size_t n = 6;

TEST_P(classics, matrix_product_in_a_systolic_grid) {
  using matrix = std::array<std::array<long, n>, n>;
  matrix a{}, b{}, product{}, expected{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      a[i][k] = static_cast<long>(i * n + k);
      b[i][k] = static_cast<long>(i) - 2 * static_cast<long>(k);
    }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < n; ++k) expected[i][j] += a[i][k] * b[k][j];
  run([&] {
    std::vector<channel<long>> east, south;  // Into cell (i, j), from the west and the north; one more beyond the edge.
    for (std::size_t i = 0; i < n * (n + 1); ++i) {
      east.emplace_back(0);
      south.emplace_back(0);
    }
    const auto into_row = [&](std::size_t i, std::size_t j) { return east[i * (n + 1) + j]; };
    const auto into_column = [&](std::size_t i, std::size_t j) { return south[j * (n + 1) + i]; };
    scope all;
    for (std::size_t i = 0; i < n; ++i) {
      all.go([&, i, out = into_row(i, 0)]() mutable {
        for (std::size_t k = 0; k < n; ++k) out.send(a[i][k]);
      });
      all.go([&, i, out = into_column(0, i)]() mutable {
        for (std::size_t k = 0; k < n; ++k) out.send(b[k][i]);
      });
      all.go([in = into_row(i, n)]() mutable {
        for (std::size_t k = 0; k < n; ++k) in.receive();
      });
      all.go([in = into_column(n, i)]() mutable {
        for (std::size_t k = 0; k < n; ++k) in.receive();
      });
      for (std::size_t j = 0; j < n; ++j)
        all.go([&, i, j, west = into_row(i, j), north = into_column(i, j), to_east = into_row(i, j + 1),
                to_south = into_column(i + 1, j)]() mutable {
          for (std::size_t k = 0; k < n; ++k) {
            const long x = *west.receive(), y = *north.receive();
            product[i][j] += x * y;
            to_east.send(x);
            to_south.send(y);
          }
        });
    }
    all.join();
  });
  EXPECT_EQ(product, expected);
}

// Dijkstra's philosophers: a waiter seats four of the five, so somebody can always eat.
TEST_P(classics, dining_philosophers) {
  run([] {
    constexpr int philosophers = 5, meals = 200;
    std::array<mutex, philosophers> forks;
    std::array<std::atomic<bool>, philosophers> fork_in_use{};
    counting_semaphore<philosophers> seats(philosophers - 1);
    std::array<int, philosophers> eaten{};
    scope all;
    for (std::size_t i = 0; i < philosophers; ++i)
      all.go([&, i] {
        const auto left = i, right = (i + 1) % philosophers;
        for (int k = 0; k < meals; ++k) {
          seats.acquire();
          {
            std::lock_guard hold_left(forks[left]);
            if (k % 10 == 0) this_fiber::yield();
            std::lock_guard hold_right(forks[right]);
            EXPECT_FALSE(fork_in_use[left].exchange(true));
            EXPECT_FALSE(fork_in_use[right].exchange(true));
            ++eaten[i];
            fork_in_use[left] = fork_in_use[right] = false;
          }
          seats.release();
        }
      });
    all.join();
    EXPECT_EQ(eaten, (std::array{meals, meals, meals, meals, meals}));
  });
}

TEST_P(classics, a_token_goes_around_a_ring_of_ten_thousand) {
  const std::size_t members = under_tsan ? 1000 : 10'000;  // ThreadSanitizer has room for about 8,000 fibers.
  run([&] {
    constexpr int rounds = 3;
    std::vector<channel<long>> ring;
    for (std::size_t i = 0; i <= members; ++i) ring.emplace_back(0);
    scope all;
    for (std::size_t i = 0; i < members; ++i)
      all.go([&, i] {
        for (int r = 0; r < rounds; ++r) ring[i + 1].send(*ring[i].receive() + 1);
      });
    long token = 0;
    for (int r = 0; r < rounds; ++r) {
      ring[0].send(token);
      token = *ring[members].receive();
    }
    all.join();
    EXPECT_EQ(token, rounds * static_cast<long>(members));
  });
}

TEST_P(classics, fan_out_and_fan_in_add_up) {
  run([] {
    constexpr int workers = 9, jobs = 5000;
    channel<int> work(8);
    channel<long> results(8);
    scope all;
    latch workers_left(workers);
    for (int i = 0; i < workers; ++i)
      all.go([&] {
        for (const int job : work) results.send(long{job} * job);
        workers_left.count_down();
      });
    all.go([&] {
      for (int i = 1; i <= jobs; ++i) work.send(i);
      work.close();
      workers_left.wait();
      results.close();
    });
    long sum = 0;
    int count = 0;
    for (const long r : results) sum += r, ++count;
    all.join();
    EXPECT_EQ(count, jobs);
    EXPECT_EQ(sum, long{jobs} * (jobs + 1) * (2 * jobs + 1) / 6);
  });
}

// A slow consumer holds the producer back: no more is under way than the buffer holds, and one at each end.
TEST_P(classics, a_producer_is_held_back_by_its_consumer) {
  run([] {
    constexpr int buffer = 4, items = 300;
    channel<int> ch(buffer);
    std::atomic<int> produced{0}, consumed{0};
    scope all;
    all.go([&] {
      for (int i = 0; i < items; ++i) {
        ++produced;
        ch.send(i);
      }
      ch.close();
    });
    int expected = 0;
    for (const int i : ch) {
      EXPECT_EQ(i, expected++);
      EXPECT_LE(produced - consumed, buffer + 2);
      if (i % 50 == 0) settle();
      ++consumed;
    }
    all.join();
    EXPECT_EQ(expected, items);
  });
}

TEST_P(classics, the_first_answer_wins_and_the_losers_are_gone) {
  run([] {
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> running{0};
      const auto replica = [&](int id, std::chrono::microseconds latency) {
        return [&running, id, latency] {
          const struct presence {
            std::atomic<int>& n;
            explicit presence(std::atomic<int>& n) : n(n) { ++n; }
            ~presence() { --n; }
          } p{running};
          this_fiber::sleep_for(latency);
          return id;
        };
      };
      EXPECT_EQ(race(replica(1, 24h), replica(2, 100us), replica(3, 24h)), 2);
      EXPECT_EQ(running, 0);
    }
  });
}

// A web whose pages link to others is visited page by page, a bounded number at a time.
TEST_P(classics, a_bounded_crawl_visits_every_page_once) {
  run([] {
    constexpr int pages = 500, limit = 6;
    std::atomic<int> fetching{0};
    const auto links_of = [&](int page) {
      EXPECT_LE(++fetching, limit);
      if (page % 7 == 0) this_fiber::sleep_for(20us);
      --fetching;
      return std::vector{(page * 2 + 1) % pages, (page * 3 + 2) % pages, (page + 1) % pages};
    };
    std::set<int> seen{0};
    std::vector<int> frontier{0};
    while (!frontier.empty()) {
      std::vector<int> next;
      for (const auto& links : map_concurrent(frontier, limit, links_of))
        for (const int page : links)
          if (seen.insert(page).second) next.push_back(page);
      frontier = std::move(next);
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(pages));
  });
}

}  // namespace
}  // namespace thrum
