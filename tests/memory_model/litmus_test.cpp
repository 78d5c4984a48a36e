// The checker itself, on the classic litmus programs: what C++20 allows is found, what it forbids is not.
#include <memory>
#include <set>

#include <gtest/gtest.h>
#include <thrum/detail/atomic.hpp>

#include "memory_model/plain.hpp"

namespace thrum::memory_model {
namespace {

using detail::atomic;
using order = std::memory_order;
constexpr auto relaxed = order::relaxed, acquire = order::acquire, release = order::release, seq_cst = order::seq_cst;

constexpr limits everything{.preemptions = 1000, .stale_reads = 1000};

struct cells {
  atomic<int> x{0}, y{0};
  plain<int> data;
  int r1 = 0, r2 = 0, r3 = 0, r4 = 0;
};

using part = std::function<void(cells&)>;

// Runs the parts as threads in every possible way, and says whether the result `asked` for is among them.
bool possible(const std::vector<part>& parts, const std::function<bool(cells&)>& asked) {
  bool seen = false;
  const auto o = explore(everything, [&](program& p) {
    auto c = std::make_shared<cells>();
    for (const auto& body : parts) p.thread("thread", [c, &body] { body(*c); });
    p.finally([c, &asked, &seen] { seen = seen || asked(*c); });
  });
  EXPECT_TRUE(o.passed) << o.report;
  EXPECT_TRUE(o.exhausted);
  return seen;
}

// ---------------------------------------------------------------------------------------------------------------
// Store buffering: both store, then read the other's old value.

bool buffers_stores(const std::function<void()>& first_fence, const std::function<void()>& second_fence,
                    order storing = relaxed, order loading = relaxed) {
  return possible({[=](cells& c) {
                     c.x.store(1, storing);
                     first_fence();
                     c.r1 = c.y.load(loading);
                   },
                   [=](cells& c) {
                     c.y.store(1, storing);
                     second_fence();
                     c.r2 = c.x.load(loading);
                   }},
                  [](cells& c) { return c.r1 == 0 && c.r2 == 0; });
}
void none() {}
void full() { detail::atomic_thread_fence(seq_cst); }
void half() { detail::atomic_thread_fence(order::acq_rel); }
void of_all() { membarrier(); }

TEST(litmus, stores_are_buffered) {
  EXPECT_TRUE(buffers_stores(none, none));
  EXPECT_TRUE(buffers_stores(none, none, release, acquire));
  EXPECT_TRUE(buffers_stores(half, half));
  EXPECT_TRUE(buffers_stores(none, none, seq_cst, relaxed));
  EXPECT_TRUE(buffers_stores(none, none, release, seq_cst));
}
TEST(litmus, full_fences_on_both_sides_forbid_it) {
  EXPECT_FALSE(buffers_stores(full, full));
  EXPECT_TRUE(buffers_stores(full, none));
}
TEST(litmus, seq_cst_operations_forbid_it) { EXPECT_FALSE(buffers_stores(none, none, seq_cst, seq_cst)); }
TEST(litmus, a_membarrier_on_one_side_forbids_it) { EXPECT_FALSE(buffers_stores(none, of_all)); }

// ---------------------------------------------------------------------------------------------------------------
// Message passing.

bool passes_without_data(order storing, order loading, const std::function<void()>& before = none,
                         const std::function<void()>& after = none) {
  return possible({[=](cells& c) {
                     c.x.store(1, relaxed);
                     before();
                     c.y.store(1, storing);
                   },
                   [=](cells& c) {
                     c.r1 = c.y.load(loading);
                     after();
                     c.r2 = c.x.load(relaxed);
                   }},
                  [](cells& c) { return c.r1 == 1 && c.r2 == 0; });
}

TEST(litmus, a_message_needs_release_and_acquire) {
  EXPECT_TRUE(passes_without_data(relaxed, relaxed));
  EXPECT_TRUE(passes_without_data(release, relaxed));
  EXPECT_TRUE(passes_without_data(relaxed, acquire));
  EXPECT_FALSE(passes_without_data(release, acquire));
}
TEST(litmus, fences_pass_a_message_too) {
  const auto releasing = [] { detail::atomic_thread_fence(release); };
  const auto acquiring = [] { detail::atomic_thread_fence(acquire); };
  EXPECT_FALSE(passes_without_data(relaxed, relaxed, releasing, acquiring));
  EXPECT_FALSE(passes_without_data(relaxed, acquire, releasing));
  EXPECT_FALSE(passes_without_data(release, relaxed, none, acquiring));
  EXPECT_TRUE(passes_without_data(relaxed, relaxed, acquiring, releasing));
}

// The release sequence goes on through a read-modify-write of another thread, and not through a store.
TEST(litmus, a_modification_passes_a_message_on) {
  const auto asked = [](cells& c) { return c.r1 == 2 && c.r2 == 0; };
  const part sends = [](cells& c) {
    c.x.store(1, relaxed);
    c.y.store(1, release);
  };
  const part receives = [](cells& c) {
    c.r1 = c.y.load(acquire);
    c.r2 = c.x.load(relaxed);
  };
  const part modifies = [](cells& c) {
    int one = 1;
    c.y.compare_exchange_strong(one, 2, relaxed);
  };
  const part stores = [](cells& c) {
    if (c.y.load(relaxed) == 1) c.y.store(2, relaxed);
  };
  EXPECT_FALSE(possible({sends, modifies, receives}, asked));
  EXPECT_TRUE(possible({sends, stores, receives}, asked));
}

// ---------------------------------------------------------------------------------------------------------------
// Independent reads of independent writes.

bool readers_disagree(order storing, order loading, const std::function<void()>& between = none) {
  return possible({[=](cells& c) { c.x.store(1, storing); }, [=](cells& c) { c.y.store(1, storing); },
                   [=](cells& c) {
                     c.r1 = c.x.load(loading);
                     between();
                     c.r2 = c.y.load(loading);
                   },
                   [=](cells& c) {
                     c.r3 = c.y.load(loading);
                     between();
                     c.r4 = c.x.load(loading);
                   }},
                  [](cells& c) { return c.r1 == 1 && c.r2 == 0 && c.r3 == 1 && c.r4 == 0; });
}

TEST(litmus, readers_may_disagree_about_the_order_of_independent_writes) {
  EXPECT_TRUE(readers_disagree(relaxed, relaxed));
  EXPECT_TRUE(readers_disagree(release, acquire));
}
TEST(litmus, seq_cst_makes_readers_agree) {
  EXPECT_FALSE(readers_disagree(seq_cst, seq_cst));
  EXPECT_FALSE(readers_disagree(relaxed, relaxed, full));
}

// ---------------------------------------------------------------------------------------------------------------
// One location: coherence, atomicity, modification order.

TEST(litmus, reads_of_one_location_do_not_go_back) {
  EXPECT_FALSE(possible({[](cells& c) {
                           c.x.store(1, relaxed);
                           c.x.store(2, relaxed);
                         },
                         [](cells& c) {
                           c.r1 = c.x.load(relaxed);
                           c.r2 = c.x.load(relaxed);
                         }},
                        [](cells& c) { return c.r2 < c.r1; }));
}
TEST(litmus, all_agree_on_the_order_of_writes_to_one_location) {
  const part reads = [](cells& c) {
    c.r1 = c.x.load(relaxed);
    c.r2 = c.x.load(relaxed);
  };
  const part reads_too = [](cells& c) {
    c.r3 = c.x.load(relaxed);
    c.r4 = c.x.load(relaxed);
  };
  const auto writes = [](int v) { return [v](cells& c) { c.x.store(v, relaxed); }; };
  EXPECT_FALSE(possible({writes(1), writes(2), reads, reads_too},
                        [](cells& c) { return c.r1 == 1 && c.r2 == 2 && c.r3 == 2 && c.r4 == 1; }));
}

bool writes_cross(order storing, const std::function<void()>& between = none) {
  return possible({[=](cells& c) {
                     c.x.store(1, relaxed);
                     between();
                     c.y.store(2, storing);
                   },
                   [=](cells& c) {
                     c.y.store(1, relaxed);
                     between();
                     c.x.store(2, storing);
                   }},
                  [](cells& c) { return c.x.load(relaxed) == 1 && c.y.load(relaxed) == 1; });
}
TEST(litmus, writes_may_take_effect_crosswise) {
  EXPECT_TRUE(writes_cross(relaxed));
  EXPECT_TRUE(writes_cross(release));
  EXPECT_FALSE(writes_cross(relaxed, full));
}

TEST(litmus, modifications_are_atomic) {
  const part adds = [](cells& c) { c.x.fetch_add(1, relaxed); };
  const part swaps = [](cells& c) {
    int v = c.x.load(relaxed);
    while (!c.x.compare_exchange_weak(v, v + 1, relaxed)) {
    }
  };
  EXPECT_FALSE(possible({adds, swaps, adds}, [](cells& c) { return c.x.load() != 3; }));
  const part tears = [](cells& c) { c.x.store(c.x.load(relaxed) + 1, relaxed); };
  EXPECT_TRUE(possible({adds, tears}, [](cells& c) { return c.x.load() != 2; }));
}

// Of ours, a modification is not a full fence either: two locations, each modified by one and read by the other.
TEST(litmus, modifications_are_no_fences) {
  EXPECT_TRUE(possible({[](cells& c) {
                          c.x.fetch_add(1, order::acq_rel);
                          c.r1 = c.y.load(acquire);
                        },
                        [](cells& c) {
                          c.y.fetch_add(1, order::acq_rel);
                          c.r2 = c.x.load(acquire);
                        }},
                       [](cells& c) { return c.r1 == 0 && c.r2 == 0; }));
}

// The limit that memory.hpp states: C++ allows it, and no execution shows it.
TEST(litmus, loads_are_not_buffered) {
  EXPECT_FALSE(possible({[](cells& c) {
                           c.r1 = c.x.load(relaxed);
                           c.y.store(1, relaxed);
                         },
                         [](cells& c) {
                           c.r2 = c.y.load(relaxed);
                           c.x.store(1, relaxed);
                         }},
                        [](cells& c) { return c.r1 == 1 && c.r2 == 1; }));
}

// ---------------------------------------------------------------------------------------------------------------
// Dekker's entry: a critical section that nobody shares, for plain data.

outcome dekker(const std::function<void()>& one, const std::function<void()>& other, const mutation& m = {}) {
  limits l = everything;
  l.change = m;
  return explore(l, [=](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("one", [=] {
      c->x.store(1, relaxed);
      one();
      if (c->y.load(acquire) == 0) c->data.set(1);
    });
    p.thread("other", [=] {
      c->y.store(1, relaxed);
      other();
      if (c->x.load(acquire) == 0) c->data.set(2);
    });
  });
}

TEST(litmus, dekker_needs_its_fences) {
  EXPECT_TRUE(dekker(full, full).passed);
  EXPECT_TRUE(dekker(none, of_all).passed);
  EXPECT_FALSE(dekker(none, none).passed);
  EXPECT_FALSE(dekker(half, full).passed);
  EXPECT_FALSE(dekker(none, full).passed);
}
TEST(litmus, a_mutation_takes_a_fence_away) {
  const auto o = dekker(full, full, {"full", operation::fence, mutation::kind::left_out});
  EXPECT_FALSE(o.passed);
  EXPECT_GT(o.mutated, 0);
  EXPECT_NE(o.report.find("a race: "), std::string::npos) << o.report;
}

// ---------------------------------------------------------------------------------------------------------------
// Plain objects, futexes, loops.

bool races(order storing, order loading) {
  return !explore(everything, [=](program& p) {
            auto c = std::make_shared<cells>();
            p.thread("writer", [=] {
              c->data.set(1);
              c->x.store(1, storing);
            });
            p.thread("reader", [=] {
              if (c->x.load(loading) == 1) c->data.get();
            });
          }).passed;
}
TEST(explorer, reports_races_on_plain_objects) {
  EXPECT_FALSE(races(release, acquire));
  EXPECT_TRUE(races(relaxed, acquire));
  EXPECT_TRUE(races(release, relaxed));
}

outcome sleeps(bool stores_first) {
  return explore(everything, [=](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("sleeper", [=] {
      while (c->x.load(acquire) == 0) wait(&c->x, 0, false);
    });
    p.thread("waker", [=] {
      if (!stores_first) wake(&c->x, 1);
      c->x.store(1, release);
      if (stores_first) wake(&c->x, 1);
    });
  });
}
TEST(explorer, reports_lost_wake_ups) {
  EXPECT_TRUE(sleeps(true).passed);
  const auto lost = sleeps(false);
  EXPECT_FALSE(lost.passed);
  EXPECT_NE(lost.report.find("nobody can go on"), std::string::npos) << lost.report;
}

TEST(explorer, a_loop_that_yields_ends) {
  const auto o = explore(everything, [](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("waits", [=] {
      while (c->x.load(acquire) == 0) yield();
    });
    p.thread("ends it", [=] { c->x.store(1, release); });
  });
  EXPECT_TRUE(o.passed) << o.report;
}
TEST(explorer, reports_what_does_not_end) {
  const auto o = explore({}, [](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("waits", [=] {
      while (c->x.load(acquire) == 0) yield();
    });
  });
  EXPECT_NE(o.report.find("it does not end"), std::string::npos);
}

}  // namespace
}  // namespace thrum::memory_model
