// Histories that have an order and histories that have none; and what the library's own objects did, in simulations and
// with real threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <thrum/linearizable.hpp>
#include <thrum/sim_gtest.hpp>

#include "base/rng.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// --- Models.

struct access {
  int cell;
  std::optional<int> written;  // None: it reads.
};
struct memory_model {
  using state = int;
  static state initial() { return 0; }
  static bool apply(state& s, const access& a, const std::optional<int>& result) {
    if (a.written) s = *a.written;
    return !result || *result == s;
  }
  static std::string describe(const access& a, const std::optional<int>& result) {
    return (a.written ? "write " + std::to_string(*a.written) : std::string("read")) +
           (result ? " -> " + std::to_string(*result) : std::string());
  }
};
struct memory_model_by_cell : memory_model {
  static int key(const access& a) { return a.cell; }
};
// The same, without the help of keys.
struct whole_memory_model {
  using state = std::array<int, 8>;
  static state initial() { return {}; }
  static bool apply(state& s, const access& a, const std::optional<int>& result) {
    return memory_model::apply(s.at(static_cast<std::size_t>(a.cell)), a, result);
  }
  static std::string describe(const access& a, const std::optional<int>& r) { return memory_model::describe(a, r); }
};

// A send, or a receive: none in `sent`. What was received, or whether it was sent: 1 or 0; -1: it was empty.
struct passing {
  std::optional<int> sent;
};
template <std::size_t Capacity>
struct channel_model {
  using state = std::deque<int>;
  static state initial() { return {}; }
  static bool apply(state& s, const passing& p, const std::optional<int>& result) {
    if (p.sent) return send(s, *p.sent, result);
    if (s.empty()) return !result || *result == -1;
    const int first = s.front();
    s.pop_front();
    return !result || *result == first;
  }
  static bool send(state& s, int value, const std::optional<int>& result) {
    const bool fits = s.size() < Capacity;
    if (fits) s.push_back(value);
    return !result || *result == fits;
  }
  static std::string describe(const passing& p, const std::optional<int>& result) {
    return (p.sent ? "send " + std::to_string(*p.sent) : std::string("receive")) +
           (result ? " -> " + std::to_string(*result) : std::string());
  }
};
// A call that waits has no result "full" or "empty".
struct waiting_channel_model : channel_model<2> {
  static bool apply(state& s, const passing& p, const std::optional<int>& result) {
    return (p.sent ? s.size() < 2 : !s.empty()) && channel_model<2>::apply(s, p, result);
  }
};

enum class permit { taken, given_back };
template <int Permits>
struct permit_model {
  using state = int;
  static state initial() { return Permits; }
  static bool apply(state& s, permit p, const std::optional<bool>& result) {
    const bool possible = p == permit::given_back || s > 0;
    if (possible) s += p == permit::taken ? -1 : 1;
    return !result || *result == possible;
  }
  static std::string describe(permit p, const std::optional<bool>& result) {
    return std::string(p == permit::taken ? "take" : "give back") + (result && !*result ? " -> none" : "");
  }
};

// --- Histories written by hand. Times are those of the calls of begin() and end().

using memory_history = history<access, int>;
constexpr access read{0, std::nullopt};
constexpr access write(int v) { return {0, v}; }

TEST(linearizable, an_empty_history_is) {
  EXPECT_EQ(linearizable<memory_model>(memory_history()).outcome, linearity::linearizable);
}

TEST(linearizable, overlapping_operations_may_have_either_order) {
  for (const int seen : {0, 1}) {
    memory_history h;
    const auto w = h.begin(write(1));
    const auto r = h.begin(read);
    h.end(r, seen);
    h.end(w, 1);
    EXPECT_EQ(linearizable<memory_model>(h).outcome, linearity::linearizable);
  }
}

TEST(linearizable, a_stale_read_is_refused_and_told) {
  memory_history h;
  (void)h.record(write(1), [] { return 1; });
  (void)h.record(read, [] { return 0; });
  const auto v = linearizable<memory_model>(h);
  EXPECT_EQ(v.outcome, linearity::not_linearizable);
  EXPECT_EQ(v.report,
            "not linearizable: of 2 operations these can be put in order:\n"
            "  thread, from 0 to 1: write 1 -> 1\n"
            "and none of these can be next:\n"
            "  thread, from 2 to 3: read -> 0\n");
}

TEST(linearizable, reads_must_agree_on_the_order_of_writes) {
  memory_history h;
  const auto one = h.begin(write(1));
  const auto two = h.begin(write(2));
  for (const int seen : {1, 2, 1}) (void)h.record(read, [=] { return seen; });
  h.end(one, 1);
  h.end(two, 2);
  EXPECT_EQ(linearizable<memory_model>(h).outcome, linearity::not_linearizable);
}

TEST(linearizable, what_has_not_returned_has_happened_or_not) {
  for (const int seen : {0, 1}) {
    memory_history h;
    (void)h.begin(write(1));
    (void)h.record(read, [=] { return seen; });
    EXPECT_EQ(linearizable<memory_model>(h).outcome, linearity::linearizable);
    (void)h.record(read, [=] { return 1 - seen; });
    EXPECT_EQ(linearizable<memory_model>(h).outcome, seen == 0 ? linearity::linearizable : linearity::not_linearizable);
  }
}

TEST(linearizable, what_throws_has_not_returned) {
  memory_history h;
  EXPECT_THROW((void)h.record(write(1), []() -> int { throw 1; }), int);
  ASSERT_EQ(h.operations().size(), 1u);
  EXPECT_FALSE(h.operations()[0].result);
}

TEST(linearizable, a_queue_that_changes_the_order_is_refused) {
  for (const int first : {1, 2}) {
    history<passing, int> h;
    for (const int v : {1, 2}) (void)h.record({v}, [] { return 1; });
    for (const int v : {first, 3 - first}) (void)h.record({}, [=] { return v; });
    EXPECT_EQ(linearizable<channel_model<2>>(h).outcome,
              first == 1 ? linearity::linearizable : linearity::not_linearizable);
  }
}

// In every cell everything overlaps, and the last read is wrong in the last one.
template <class Model>
linearity_verdict tangle(int cells, int writes, bool wrong, std::size_t steps_max) {
  memory_history h;
  std::vector<std::size_t> begun;
  for (int k = 0; k < writes; ++k)
    for (int cell = 0; cell < cells; ++cell) begun.push_back(h.begin({cell, k + 1}));
  for (std::size_t i = 0; i < begun.size(); ++i) h.end(begun[i], static_cast<int>(i) / cells + 1);
  (void)h.record({cells - 1, std::nullopt}, [&] { return wrong ? 0 : 1; });
  return linearizable<Model>(h, steps_max);
}

TEST(linearizable, keys_are_looked_at_apart) {
  EXPECT_EQ(tangle<memory_model_by_cell>(8, 5, true, 100'000).outcome, linearity::not_linearizable);
  EXPECT_EQ(tangle<whole_memory_model>(8, 5, true, 100'000).outcome, linearity::undecided);
  EXPECT_EQ(tangle<memory_model_by_cell>(8, 5, false, 100'000).outcome, linearity::linearizable);
}

TEST(linearizable, gives_up_and_says_so) {
  const auto v = tangle<memory_model>(1, 16, true, 1000);
  EXPECT_EQ(v.outcome, linearity::undecided);
  EXPECT_EQ(v.steps, 1000u);
  EXPECT_EQ(v.report.find("undecided after 1000 steps; so far, of 17 operations"), 0u) << v.report;
}

// All orders, without memory or cleverness.
bool has_an_order(const std::vector<memory_history::operation>& all) {
  std::vector<std::size_t> order(all.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  do {
    int state = 0;
    bool fits = true;
    for (std::size_t i = 0; i < order.size() && fits; ++i) {
      for (std::size_t k = i + 1; k < order.size(); ++k) fits = fits && all[order[k]].ended > all[order[i]].begun;
      fits = fits && memory_model::apply(state, all[order[i]].call, all[order[i]].result);
    }
    if (fits) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(linearizable, agrees_with_trying_all_orders) {
  base::rng dice(1);
  int linear = 0;
  constexpr int histories = 3000;
  for (int k = 0; k < histories; ++k) {
    memory_history h;
    std::vector<std::pair<std::size_t, access>> open;
    for (int begun = 0; begun < 6 || !open.empty();) {
      if (begun < 6 && (open.empty() || dice.below(2) == 0)) {
        const access a = dice.below(2) ? read : write(static_cast<int>(dice.below(3)));
        open.emplace_back(h.begin(a), a);
        ++begun;
      } else {
        const auto i = static_cast<std::ptrdiff_t>(dice.below(static_cast<std::uint32_t>(open.size())));
        const auto [number, a] = open[static_cast<std::size_t>(i)];
        h.end(number, a.written ? *a.written : static_cast<int>(dice.below(3)));
        open.erase(open.begin() + i);
      }
    }
    const bool expected = has_an_order(h.operations());
    const auto v = linearizable<memory_model>(h);
    ASSERT_EQ(v.outcome == linearity::linearizable, expected) << v.report;
    ASSERT_NE(v.outcome, linearity::undecided);
    linear += expected;
  }
  EXPECT_GT(linear, histories / 10);
  EXPECT_LT(linear, histories * 9 / 10);
}

// --- What was recorded of the library's own.

template <class Model, class History>
void expect_linearizable(const History& h) {
  const auto v = linearizable<Model>(h);
  EXPECT_EQ(v.outcome, linearity::linearizable) << v.report;
}

void use_a_channel_without_waiting() {
  channel<int> ch(2);
  history<passing, int> h;
  {
    scope s;
    for (int i = 0; i < 3; ++i)
      s.go([&, i] {
        for (int k = 0; k < 3; ++k) {
          (void)h.record({10 * i + k}, [&] { return ch.try_send(10 * i + k) ? 1 : 0; });
          this_fiber::yield();
          (void)h.record({}, [&] { return ch.try_receive().value_or(-1); });
        }
      });
    s.join();
  }
  expect_linearizable<channel_model<2>>(h);
}

void use_a_channel() {
  channel<int> ch(2);
  history<passing, int> h;
  {
    scope s;
    for (int i = 0; i < 2; ++i) {
      s.go([&, i] {
        for (int k = 0; k < 4; ++k) (void)h.record({10 * i + k}, [&] { return ch.send(10 * i + k), 1; });
      });
      s.go([&] {
        for (int k = 0; k < 4; ++k) (void)h.record({}, [&] { return ch.receive().value_or(-1); });
      });
    }
    s.join();
  }
  expect_linearizable<waiting_channel_model>(h);
}

void use_a_semaphore() {
  counting_semaphore<> permits(2);
  history<permit, bool> h;
  {
    scope s;
    for (int i = 0; i < 4; ++i)
      s.go([&] {
        for (int k = 0; k < 3; ++k) {
          if (!h.record(permit::taken, [&] { return permits.try_acquire(); })) continue;
          this_fiber::yield();
          (void)h.record(permit::given_back, [&] { return permits.release(), true; });
        }
      });
    s.join();
  }
  expect_linearizable<permit_model<2>>(h);
}

void use_a_mutex() {
  mutex m;
  history<permit, bool> h;
  {
    scope s;
    for (int i = 0; i < 4; ++i)
      s.go([&, i] {
        for (int k = 0; k < 3; ++k) {
          const auto lock = [&] { return i < 2 ? m.try_lock() : (m.lock(), true); };
          if (!h.record(permit::taken, lock)) continue;
          this_fiber::yield();
          (void)h.record(permit::given_back, [&] { return m.unlock(), true; });
        }
      });
    s.join();
  }
  expect_linearizable<permit_model<1>>(h);
}

constexpr std::array all_of_them{&use_a_channel_without_waiting, &use_a_channel, &use_a_semaphore, &use_a_mutex};

TEST(linearizable, channel_semaphore_and_mutex_in_simulations) {
  for (const auto use : all_of_them) EXPECT_TRUE(sim::holds(use, {.schedules = 300}));
}

class linearizable_on_workers : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, linearizable_on_workers, worker_counts, count_name);

TEST_P(linearizable_on_workers, channel_semaphore_and_mutex) {
  run([] {
    for (const auto use : all_of_them)
      for (int i = 0; i < 50 && !HasFailure(); ++i) use();
  });
}

TEST(linearizable, a_channel_between_plain_threads) {
  for (int k = 0; k < 50; ++k) {
    channel<int> ch(2);
    history<passing, int> h;
    std::vector<std::thread> all;
    for (int i = 0; i < 3; ++i)
      all.emplace_back([&, i] {
        for (int n = 0; n < 3; ++n) {
          (void)h.record({10 * i + n}, [&] { return ch.try_send(10 * i + n) ? 1 : 0; });
          (void)h.record({}, [&] { return ch.try_receive().value_or(-1); });
        }
      });
    for (auto& t : all) t.join();
    expect_linearizable<channel_model<2>>(h);
  }
}

// A queue whose receive looks first and takes later: two may take the same, or what another has sent since.
class careless_queue {
 public:
  bool send(int v) {
    std::lock_guard hold(m_);
    if (all_.size() == 2) return false;
    all_.push_back(v);
    return true;
  }
  int receive() {
    m_.lock();
    const int first = all_.empty() ? -1 : all_.front();
    m_.unlock();
    if (first == -1) return -1;
    std::lock_guard hold(m_);  // Another may have been here.
    if (!all_.empty()) all_.pop_front();
    return first;
  }

 private:
  mutex m_;
  std::deque<int> all_;
};

TEST(linearizable, a_careless_queue_is_found_in_simulations) {
  const auto v = sim::check([] {
    careless_queue q;
    history<passing, int> h;
    {
      scope s;
      for (int i = 0; i < 2; ++i)
        s.go([&, i] {
          (void)h.record({i}, [&] { return q.send(i) ? 1 : 0; });
          (void)h.record({}, [&] { return q.receive(); });
        });
      s.join();
    }
    const auto verdict = linearizable<channel_model<2>>(h);
    if (verdict.outcome != linearity::linearizable) throw std::runtime_error(verdict.report);
  });
  EXPECT_FALSE(v.passed);
  EXPECT_NE(v.report.find("not linearizable: of 4 operations these can be put in order:"), std::string::npos)
      << v.report;
}

}  // namespace
}  // namespace thrum
