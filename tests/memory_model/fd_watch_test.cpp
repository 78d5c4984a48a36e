// A descriptor's watch: no edge is missed by who has just found nothing, nor by who is about to wait.
#include "sched/fd_watch.hpp"

#include <memory>

#include <gtest/gtest.h>

#include "memory_model/checks.hpp"
#include "sched/thread_waiter.hpp"
#include "sched/wait.hpp"

namespace thrum::memory_model {
namespace {

using sched::fd_watch;

struct stream {
  fd_watch watch;
  detail::atomic<int> bytes{0};  // The kernel's, whose calls are in one order.

  void arrive() {
    bytes.fetch_add(1, std::memory_order_seq_cst);
    sched::runnable_batch woken;
    watch.ready(fd_watch::can_read, watch.generation(), woken);
  }
  fd_watch::outcome wait() {
    return watch.wait({&sched::thread_waiter::mine(), false}, fd_watch::reading, sched::never, 0);
  }
  // False: the descriptor is closed.
  bool read(int count) {
    for (int got = 0; got < count;) {
      const auto before = watch.word(fd_watch::reading);
      const int n = bytes.exchange(0, std::memory_order_seq_cst);
      got += n;
      if (n > 0) continue;
      watch.not_ready(fd_watch::reading, before);
      if (wait() == fd_watch::outcome::closed) return false;
    }
    return true;
  }
};

// One after the other, so that the second may come while the first is read.
void two_bytes_arrive(program& p) {
  fresh_waiters();
  auto s = std::make_shared<stream>();
  p.thread("reader", [=] { require(s->read(2), "the end of an open stream"); });
  p.thread("poller", [=] {
    s->arrive();
    s->arrive();
  });
}
void closed_while_somebody_reads(program& p) {
  fresh_waiters();
  auto s = std::make_shared<stream>();
  p.thread("reader", [=] { require(!s->read(1), "something was read"); });
  p.thread("closer", [=] { s->watch.close(); });
}

// An event of the descriptor that the watch belonged to before says that this has ended.
void an_event_comes_late(program& p) {
  auto s = std::make_shared<stream>();
  p.thread("poller", [=] {
    sched::runnable_batch woken;
    s->watch.ready(fd_watch::can_read | fd_watch::read_ended, 0, woken);
  });
  p.thread("owner", [=] {
    s->watch.raise_generation();
    const auto before = s->watch.word(fd_watch::reading);
    require(s->watch.word(fd_watch::reading) == before, "the end of another descriptor is told");
  });
}

TEST(memory_fd_watch, no_edge_is_missed) { expect_holds(two_bytes_arrive, {.preemptions = 3, .stale_reads = 2}); }
TEST(memory_fd_watch, closing_wakes_who_reads) { expect_holds(closed_while_somebody_reads, {.preemptions = 3}); }
TEST(memory_fd_watch, an_event_of_another_descriptor_is_void) {
  expect_holds(an_event_comes_late, {.preemptions = 4});
  expect_noticed(an_event_comes_late, left_out("fd_watch::ready_on(", operation::load));
}
TEST(memory_fd_watch, an_edge_that_is_not_counted_is_noticed) {
  expect_lost_wake_up(two_bytes_arrive, left_out("fd_watch::counted(", operation::modify));
  expect_lost_wake_up(two_bytes_arrive, left_out("fd_watch::edge_seen(", operation::modify));
}
TEST(memory_fd_watch, one_who_waits_without_looking_is_noticed) {
  expect_lost_wake_up(closed_while_somebody_reads, left_out("fd_watch::has_outcome(", operation::load));
}

}  // namespace
}  // namespace thrum::memory_model
