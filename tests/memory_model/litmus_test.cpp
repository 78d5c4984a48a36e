// The checker itself, on the classic litmus programs: what C++20 allows is found, what it forbids is not.
#include <memory>
#include <set>
#include <string>

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
bool possible(const std::vector<part>& parts, const std::function<bool(cells&)>& asked, int late_reads = 0) {
  bool seen = false;
  auto l = everything;
  l.late_reads = late_reads;
  const auto o = explore(l, [&](program& p) {
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

TEST(litmus, a_weak_exchange_may_fail_without_a_reason) {
  const auto fails = [](int spurious_failures) {
    limits l;
    l.spurious_failures = spurious_failures;
    return !explore(l, [](program& p) {
              auto c = std::make_shared<cells>();
              p.thread("thread", [=] {
                int none = 0;
                require(c->x.compare_exchange_weak(none, 1), "it fails");
              });
            }).passed;
  };
  EXPECT_FALSE(fails(0));
  EXPECT_TRUE(fails(1));
}

// ---------------------------------------------------------------------------------------------------------------
// Load buffering: each reads, then stores what the other reads.

bool buffers_loads(const part& one, const part& other, int late_reads = 2) {
  return possible(
      {one, other}, [](cells& c) { return c.r1 == 1 && c.r2 == 1; }, late_reads);
}
part reads_x_then(const std::function<void(cells&)>& storing, order loading = relaxed) {
  return [=](cells& c) {
    c.r1 = c.x.load(loading);
    storing(c);
  };
}
part reads_y_then(const std::function<void(cells&)>& storing, order loading = relaxed) {
  return [=](cells& c) {
    c.r2 = c.y.load(loading);
    storing(c);
  };
}
void sets_x(cells& c) { c.x.store(1, relaxed); }
void sets_y(cells& c) { c.y.store(1, relaxed); }
void releases_y(cells& c) { c.y.store(1, release); }

TEST(litmus, loads_are_buffered) {
  EXPECT_TRUE(buffers_loads(reads_x_then(sets_y), reads_y_then(sets_x)));
  EXPECT_FALSE(buffers_loads(reads_x_then(sets_y), reads_y_then(sets_x), 0));
  EXPECT_TRUE(buffers_loads(reads_x_then([](cells& c) { c.y.fetch_add(1, relaxed); }), reads_y_then(sets_x)));
}
TEST(litmus, one_of_them_may_depend_on_what_it_reads) {
  EXPECT_TRUE(buffers_loads(reads_x_then([](cells& c) { c.y.store(c.r1, relaxed); }), reads_y_then(sets_x)));
  EXPECT_TRUE(buffers_loads(reads_x_then([](cells& c) { c.y.store(c.r1 * 0 + 1, relaxed); }),
                            reads_y_then([](cells& c) { c.x.store(c.r2, relaxed); })));
}
TEST(litmus, values_do_not_come_out_of_thin_air) {
  EXPECT_FALSE(buffers_loads(reads_x_then([](cells& c) { c.y.store(c.r1, relaxed); }),
                             reads_y_then([](cells& c) { c.x.store(c.r2, relaxed); })));
  EXPECT_FALSE(buffers_loads(reads_x_then([](cells& c) {
                               if (c.r1 == 1) sets_y(c);
                             }),
                             reads_y_then([](cells& c) {
                               if (c.r2 == 1) sets_x(c);
                             })));
}
TEST(litmus, acquiring_forbids_it) {
  EXPECT_FALSE(buffers_loads(reads_x_then(sets_y, acquire), reads_y_then(sets_x, acquire)));
  EXPECT_FALSE(buffers_loads(reads_x_then(releases_y), reads_y_then(sets_x, acquire)));
  const auto after_a_fence = [](void (*store)(cells&)) {
    return [=](cells& c) {
      detail::atomic_thread_fence(acquire);
      store(c);
    };
  };
  EXPECT_FALSE(buffers_loads(reads_x_then(after_a_fence(&sets_y)), reads_y_then(after_a_fence(&sets_x))));
}
// A load that comes late does not read what its thread has overwritten, nor makes reads of one location go back.
TEST(litmus, late_loads_are_coherent) {
  EXPECT_FALSE(possible(
      {[](cells& c) {
         c.r1 = c.x.load(relaxed);
         c.r2 = c.x.load(relaxed);
       },
       [](cells& c) {
         c.x.store(1, relaxed);
         c.x.store(2, relaxed);
       }},
      [](cells& c) { return c.r1 == 2 && c.r2 == 1; }, 2));
  EXPECT_FALSE(possible(
      {[](cells& c) {
         c.r1 = c.x.load(relaxed);
         c.x.store(1, relaxed);
       },
       [](cells&) {}},
      [](cells& c) { return c.r1 == 1; }, 2));
}
TEST(explorer, a_failure_counts_only_if_its_guess_comes_true) {
  const auto fails = [](const part& other) {
    auto l = everything;
    l.late_reads = 1;
    return !explore(l, [&](program& p) {
              auto c = std::make_shared<cells>();
              p.thread("reader", [=] {
                const int read = c->x.load(relaxed);
                c->y.store(1, relaxed);
                require(read == 0, "it reads what comes later");
              });
              p.thread("other", [c, &other] { other(*c); });
            }).passed;
  };
  EXPECT_TRUE(fails([](cells& c) {
    if (c.y.load(relaxed) == 1) c.x.store(1, relaxed);
  }));
  EXPECT_FALSE(fails([](cells& c) {
    if (c.y.load(acquire) == 2) c.x.store(1, relaxed);
  }));
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

// What is destroyed must not be used any more, nor be used still.
bool outlives_its_use(order storing, order loading) {
  return explore(everything,
                 [=](program& p) {
                   auto c = std::make_shared<cells>();
                   auto* owned = new atomic<int>(0);
                   p.thread("user", [=] {
                     owned->store(1, relaxed);
                     c->x.store(1, storing);
                   });
                   p.thread("owner", [=] {
                     while (c->x.load(loading) == 0) yield();
                     delete owned;
                   });
                 })
      .passed;
}
TEST(explorer, reports_atomics_that_are_destroyed_too_early) {
  EXPECT_TRUE(outlives_its_use(release, acquire));
  EXPECT_FALSE(outlives_its_use(relaxed, acquire));
  const auto o = explore({}, [](program& p) {
    auto* owned = new atomic<int>(0);
    p.thread("owner", [=] { delete owned; });
    p.thread("user", [=] { owned->load(); });
  });
  EXPECT_FALSE(o.passed);
}

// ---------------------------------------------------------------------------------------------------------------
// At random: a seed draws an execution again.

void two_stale_reads(program& p) {
  auto c = std::make_shared<cells>();
  p.thread("one", [=] {
    c->x.store(1, relaxed);
    c->r1 = c->y.load(relaxed);
  });
  p.thread("other", [=] {
    c->y.store(1, relaxed);
    c->r2 = c->x.load(relaxed);
  });
  p.finally([=] { require(c->r1 == 1 || c->r2 == 1, "both stores are buffered"); });
}
TEST(explorer, a_seed_repeats_the_execution_that_failed) {
  const auto found = explore({.executions = 1000, .seed = 1}, two_stale_reads);
  ASSERT_FALSE(found.passed);
  EXPECT_NE(found.report.find("seed " + std::to_string(found.seed)), std::string::npos) << found.report;
  const auto again = explore({.executions = 1, .seed = found.seed}, two_stale_reads);
  EXPECT_EQ(again.report, found.report);
}
TEST(explorer, what_is_drawn_is_within_what_memory_allows) {
  const auto o = explore({.executions = 3000, .seed = 1}, [](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("sender", [=] {
      c->data.set(1);
      c->x.store(1, release);
    });
    p.thread("receiver", [=] {
      if (c->x.load(acquire) == 1) require(c->data.get() == 1, "the message is missing");
    });
  });
  EXPECT_TRUE(o.passed) << o.report;
  EXPECT_EQ(o.executions, 3000);
  EXPECT_FALSE(o.exhausted);
}

TEST(explorer, the_time_of_who_sleeps_alone_is_up_some_day) {
  const auto o = explore(everything, [](program& p) {
    auto c = std::make_shared<cells>();
    p.thread("sleeper", [=] {
      c->x.load(relaxed);
      require(!wait(&c->x, 0, true), "somebody has woken it");
    });
  });
  EXPECT_TRUE(o.passed) << o.report;
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
