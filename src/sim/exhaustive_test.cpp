// A search through all schedules: that it leaves out only what makes no difference, and leaves out much.
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include <thrum/sim.hpp>

#include "base/mix.hpp"
#include "base/rng.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

constexpr unsigned unlimited = 1000;

// What the schedules of a check() came to, which are run in a child process.
class outcomes {
 public:
  outcomes() : memory_(::mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    shared_ = new (memory_) shared;
  }
  ~outcomes() { ::munmap(memory_, sizeof(shared)); }
  outcomes(const outcomes&) = delete;
  outcomes& operator=(const outcomes&) = delete;

  void add(const std::string& one) {
    if (!told_.insert(one).second) return;
    const auto n = shared_->size.fetch_add(1);
    ASSERT_LT(n, shared_->hashes.size());
    shared_->hashes[n] = std::hash<std::string>{}(one);
  }
  std::set<std::size_t> all() const {
    return {shared_->hashes.begin(), shared_->hashes.begin() + static_cast<std::ptrdiff_t>(shared_->size.load())};
  }

 private:
  struct shared {
    std::atomic<std::size_t> size{0};
    std::array<std::size_t, 1 << 14> hashes;
  };
  void* const memory_;
  shared* shared_;
  std::set<std::string> told_;  // The child's.
};

sim::verdict search(const std::function<void()>& program, unsigned depth, bool reduction) {
  return sim::check(
      program,
      {.schedules = 3'000, .how = sim::strategy::exhaustive, .each = {.depth = depth, .reduction = reduction}});
}

// ---------------------------------------------------------------------------------------------------------------

TEST(reduction, leaves_out_the_orders_of_what_has_nothing_in_common) {
  const auto program = [] {
    std::array<mutex, 3> own;
    std::array<fiber, 3> all;
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = spawn([&m = own[i]] {
        for (int k = 0; k < 2; ++k) std::lock_guard hold(m);
      });
    for (auto& f : all) f.join();
  };
  const auto whole = search(program, 2, false), reduced = search(program, 2, true);
  EXPECT_TRUE(whole.passed && whole.exhausted) << whole.report;
  EXPECT_TRUE(reduced.passed && reduced.exhausted) << reduced.report;
  EXPECT_LT(reduced.schedules * 2, whole.schedules);
}

// ---------------------------------------------------------------------------------------------------------------
// Small programs at random: with and without reduction they must come to the same.

struct things {
  std::array<mutex, 2> m;
  counting_semaphore<> permits{1};
  event flag;
  channel<int> pipe{1}, other_pipe{1};
  wait_group group;
  shared_mutex document;
  condition_variable changed;
  int version = 0;  // Under m[0].
  std::array<std::string, 2> seen;

  void note(std::size_t who, char what) { seen[who] += what; }
  void note(std::size_t who, char what, std::optional<int> value) {
    note(who, what);
    seen[who] += value ? std::to_string(*value) : "-";
  }
};

using operation = void (*)(things&, std::size_t who);

void count_under_a_lock(things& t, std::size_t who) {
  const std::lock_guard hold(t.m[0]);
  t.note(who, 'v', ++t.version);
}
void try_the_lock(things& t, std::size_t who) {
  const std::unique_lock hold(t.m[0], std::try_to_lock);
  t.note(who, hold ? 'l' : 'n');
}
void hold_both(things& t, std::size_t who) {
  const std::lock_guard first(t.m[0]);
  const std::lock_guard second(t.m[1]);
  t.note(who, 'b', t.version);
}
void hold_the_other(things& t, std::size_t) { const std::lock_guard hold(t.m[1]); }
void take_a_permit(things& t, std::size_t who) { t.note(who, t.permits.try_acquire() ? 'p' : 'q'); }
void give_a_permit(things& t, std::size_t) { t.permits.release(); }
void set_the_flag(things& t, std::size_t) { t.flag.set(); }
void reset_the_flag(things& t, std::size_t) { t.flag.reset(); }
void look_at_the_flag(things& t, std::size_t who) { t.note(who, t.flag.is_set() ? 'f' : 'g'); }
void send(things& t, std::size_t who) { t.note(who, t.pipe.try_send(static_cast<int>(who)) ? 's' : 't'); }
void receive(things& t, std::size_t who) { t.note(who, 'r', t.pipe.try_receive()); }
void send_on_the_other(things& t, std::size_t who) {
  t.note(who, t.other_pipe.try_send(static_cast<int>(who)) ? 'S' : 'T');
}
void receive_from_either(things& t, std::size_t who) {
  select(t.pipe.on_receive([&](auto v) { t.note(who, 'r', v); }),
         t.other_pipe.on_receive([&](auto v) { t.note(who, 'R', v); }), otherwise([&] { t.note(who, 'o'); }));
}
void read_the_document(things& t, std::size_t who) {
  const std::shared_lock hold(t.document, std::try_to_lock);
  t.note(who, hold ? 'd' : 'e');
}
void write_the_document(things& t, std::size_t) {
  const std::lock_guard hold(t.document);
  const std::lock_guard held_too(t.m[1]);
}
void notify(things& t, std::size_t) { t.changed.notify_one(); }
void wait_a_moment(things& t, std::size_t who) {
  std::unique_lock hold(t.m[0]);
  t.note(who, t.changed.wait_for(hold, 1ms) == std::cv_status::no_timeout ? 'w' : 'x');
}
void give_way(things&, std::size_t) { this_fiber::yield(); }
void join_another(things& t, std::size_t who) {
  fiber other = spawn([&] { count_under_a_lock(t, who); });
  other.join();
}

// Those of a family use the same object.
const std::vector<std::vector<operation>> families{
    {count_under_a_lock, try_the_lock, hold_both, hold_the_other},
    {take_a_permit, give_a_permit},
    {set_the_flag, reset_the_flag, look_at_the_flag},
    {send, receive},
    {send, send_on_the_other, receive_from_either},
    {read_the_document, write_the_document, hold_the_other},
    {notify, wait_a_moment},
    {join_another, count_under_a_lock, give_way},
};

struct random_program {
  std::vector<std::vector<operation>> fibers;

  std::string run() const {
    things t;
    std::array<mutex, 2> own;
    std::vector<fiber> all;
    for (std::size_t who = 0; who < fibers.size(); ++who)
      all.push_back(spawn([&, who] {
        for (const auto op : fibers[who]) {
          const std::lock_guard hold(own[who]);  // So that each operation begins a step.
          op(t, who);
        }
      }));
    std::string whole;
    for (auto& f : all) f.join();
    for (const auto& one : t.seen) whole += one + ';';
    return whole;
  }
};

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr unsigned programs = 32;
#else
constexpr unsigned programs = 8;
#endif

class random_programs : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(seeds, random_programs, ::testing::Range(0u, programs));

// What two fibers did first must not be forgotten when it comes to what they do then.
TEST_P(random_programs, come_to_the_same_with_reduction) {
  const auto seed = GetParam();
  const auto& family = families[seed % families.size()];
  base::rng rng(base::scrambled(seed + 1));
  random_program p;
  p.fibers.resize(2);
  for (auto& f : p.fibers)
    for (int i = 0; i < 3; ++i) f.push_back(family[rng.below(static_cast<std::uint32_t>(family.size()))]);
  for (const unsigned depth : {3u, unlimited}) {
    outcomes whole, reduced;
    const auto w = search([&] { whole.add(p.run()); }, depth, false);
    const auto r = search([&] { reduced.add(p.run()); }, depth, true);
    EXPECT_TRUE(w.passed) << w.report;
    EXPECT_TRUE(r.passed) << r.report;
    EXPECT_LE(r.schedules, w.schedules);
    if (!w.exhausted) continue;
    EXPECT_TRUE(r.exhausted);
    EXPECT_EQ(reduced.all(), whole.all()) << "depth " << depth;
  }
}

// ---------------------------------------------------------------------------------------------------------------

// Atomic variables are none of ours: two fibers that only use one have nothing in common, until they say so.
TEST(reduction, is_told_of_what_the_program_shares_without_us) {
  const auto orders = [](bool tell) {
    outcomes seen;
    const auto v = search(
        [&] {
          std::array<mutex, 2> own;
          std::atomic<int> last{-1};
          const auto store = [&](int i) {
            const std::lock_guard hold(own[static_cast<std::size_t>(i)]);
            if (tell) sim::touch(&last);
            last.store(i);
          };
          fiber a = spawn([&] { store(0); }), b = spawn([&] { store(1); });
          a.join();
          b.join();
          seen.add(std::to_string(last.load()));
        },
        unlimited, true);
    EXPECT_TRUE(v.passed && v.exhausted) << v.report;
    return seen.all().size();
  };
  EXPECT_EQ(orders(true), 2u);
  EXPECT_GE(orders(false), 1u);
}

// They share no object of thrum, only what they read before a yield and write after it: all outcomes are to be seen.
TEST(reduction, forgets_nothing_that_is_shared_beside_a_yield) {
  outcomes seen;
  const auto v = search(
      [&] {
        int rounds[2][2] = {}, last = 0;
        const auto work = [&](int who) {
          for (auto& round : rounds) {
            const int before = last;
            this_fiber::yield();
            last = who + 1;
            round[who] = before;
          }
        };
        fiber a = spawn([&] { work(0); }), b = spawn([&] { work(1); });
        a.join();
        b.join();
        std::string one;
        for (const auto& round : rounds)
          for (const int before : round) one += std::to_string(before);
        seen.add(one + std::to_string(last));
      },
      unlimited, true);
  EXPECT_TRUE(v.passed && v.exhausted) << v.report;
  std::set<std::string> wanted;  // By hand: each has three steps, of which all orders are to be seen.
  for (unsigned order = 0; order < 64; ++order) {
    if (std::popcount(order) != 3) continue;
    int before[2][2] = {}, last = 0, at[2] = {}, read[2] = {};
    for (unsigned k = 0; k < 6; ++k) {
      const auto who = order >> k & 1;
      if (at[who] > 0) {
        last = static_cast<int>(who) + 1;
        before[at[who] - 1][who] = read[who];
      }
      read[who] = last;
      ++at[who];
    }
    std::string one;
    for (const auto& round : before)
      for (const int b : round) one += std::to_string(b);
    wanted.insert(one + std::to_string(last));
  }
  EXPECT_EQ(seen.all().size(), wanted.size());
}

// A watcher is used by whoever changes what is watched, and by who sets, reads or ends a watch.
TEST(reduction, loses_nothing_of_what_watchers_are_told) {
  outcomes whole, reduced;
  const auto program = [](outcomes& found) {
    return [&found] {
      std::string seen;
      auto w = file_watcher::open();
      const int first = w.watch("/tmp");
      fiber reads = spawn([&] {
        for (bool over = false; !over; seen += ' ')
          for (const auto& e : w.receive()) {
            seen += e.change == file_change::ended ? "end" : e.name;
            over = over || e.change == file_change::ended;
          }
      });
      fiber makes = spawn([] { make_directory("/tmp/a"); });
      fiber ends = spawn([&] { w.unwatch(first); });
      for (auto* f : {&reads, &makes, &ends}) f->join();
      found.add(seen);
    };
  };
  // Without time, which tells nearly all orders apart.
  const auto timeless = [](const std::function<void()>& f, bool reduction) {
    return sim::check(f, {.schedules = 20'000,
                          .how = sim::strategy::exhaustive,
                          .each = {.depth = 2, .reduction = reduction, .step = 0ns}});
  };
  const auto all = timeless(program(whole), false), few = timeless(program(reduced), true);
  EXPECT_TRUE(all.passed && all.exhausted) << all.report;
  EXPECT_TRUE(few.passed && few.exhausted) << few.report;
  EXPECT_LT(few.schedules, all.schedules);
  EXPECT_EQ(reduced.all(), whole.all());
  EXPECT_EQ(whole.all().size(), 3u) << "in one batch, in two, and nothing but the end";
}

TEST(reduction, does_not_go_round_with_those_who_wait_by_yielding) {
  const auto v = search(
      [] {
        bool done = false;
        fiber waits = spawn([&] {
          while (!done) this_fiber::yield();
        });
        fiber works = spawn([&] {
          this_fiber::yield();
          done = true;
        });
        waits.join();
        works.join();
      },
      2, true);
  EXPECT_TRUE(v.passed && v.exhausted) << v.report;
}

// ---------------------------------------------------------------------------------------------------------------

// Somebody who comes first among twenty steps of the other: seldom in a random walk, one of 21 orders if all are equal.
TEST(uniform, finds_who_comes_late) {
  const auto late = [](sim::strategy how) {
    outcomes found;
    int n = 0;
    const auto v = sim::check(
        [&] {
          mutex m;
          int steps = 0, at = 0;
          fiber busy = spawn([&] {
            for (int i = 0; i < 20; ++i) {
              const std::lock_guard hold(m);
              ++steps;
            }
          });
          fiber once = spawn([&] {
            const std::lock_guard hold(m);
            at = steps;
          });
          busy.join();
          once.join();
          if (at == 20) found.add(std::to_string(n++));
        },
        {.schedules = 400, .how = how});
    EXPECT_TRUE(v.passed) << v.report;
    return found.all().size();
  };
  EXPECT_EQ(late(sim::strategy::random_walk), 0u);
  EXPECT_GE(late(sim::strategy::uniform), 5u);
}

TEST(uniform, replays_as_a_script) {
  const auto v = sim::check(
      [] {
        mutex m;
        int order = 0;
        fiber a = spawn([&] {
          const std::lock_guard hold(m);
          order = order * 10 + 1;
        });
        fiber b = spawn([&] {
          const std::lock_guard hold(m);
          order = order * 10 + 2;
        });
        a.join();
        b.join();
        if (order == 21) throw std::runtime_error("the second came first");
      },
      {.schedules = 100, .how = sim::strategy::uniform});
  ASSERT_FALSE(v.passed);
  EXPECT_NE(v.replay.find(",at="), std::string::npos) << v.replay;
  EXPECT_EQ(v.report.find("it does not replay"), std::string::npos) << v.report;
}

}  // namespace
}  // namespace thrum
