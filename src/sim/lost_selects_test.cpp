// A wake-up that thrum would lose for a select, or for who waits for a descriptor, is found. To lose one, the waiter is
// taken out of the queues that it is in.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <thrum/detail/select_core.hpp>
#include <thrum/pipe.hpp>
#include <thrum/select_end.hpp>
#include <thrum/sim.hpp>
#include <thrum/task_scope.hpp>

#include "chan/channel_core.hpp"
#include "sched/fd_watch.hpp"
#include "sched/scheduler.hpp"
#include "sim/expect_lost.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

void forget(const sched::waiter& who, detail::wait_list& list) {
  for (sched::wait_node* n = list.first; n;) {
    auto& one = *n;
    n = n->next;
    if (one.who == &who) sched::remove(list, one);
  }
}

void forget(const sched::waiter& who, const detail::select_clause& c) {
  if (c.channel) {
    forget(who, c.channel->senders);
    forget(who, c.channel->receivers);
  }
  if (c.queue) forget(who, c.queue->waiters);
  if (c.ended) c.ended->joiner.store(nullptr);
}

void lose(const sched::activity& who) {
  if (std::string_view(who.reason.kind->what) == "a select") {
    const auto& room = *static_cast<const detail::select_room*>(who.reason.object);
    for (std::size_t i = 0; i < room.count; ++i) forget(who, room.clauses[i]);
  } else {
    auto& watch = *static_cast<sched::fd_watch*>(const_cast<void*>(who.reason.object));
    for (const auto d : {sched::fd_watch::reading, sched::fd_watch::writing}) forget(who, watch.queue(d).waiters);
  }
}

void lose_all_who_wait_for(std::string_view what) {
  int found = 0;
  sched::this_worker()->home.for_each_alive([&](const sched::activity& a) {
    if (!(a.word() & sched::waiter::parked_bit) || what != a.reason.kind->what) return;
    lose(a);
    ++found;
  });
  EXPECT_EQ(found, 1) << what;
}

// Starts who waits; the result brings what it waits for.
using arrangement = std::function<std::function<void()>(scope& s)>;

std::function<void()> loses(const arrangement& arrange, const char* what) {
  return [=] {
    scope s;
    const auto bring = arrange(s);
    this_fiber::sleep_for(1s);
    lose_all_who_wait_for(what);
    bring();
    s.join();
  };
}
std::function<void()> keeps(const arrangement& arrange) {
  return [=] {
    scope s;
    const auto bring = arrange(s);
    this_fiber::sleep_for(1s);
    bring();
    s.join();
  };
}

void expect_found(const arrangement& arrange, const char* what, const std::string& how) {
  const auto v = sim::check(loses(arrange, what), {.schedules = 5});
  EXPECT_FALSE(v.passed) << what << how;
  EXPECT_TRUE(says(v, sentence));
  EXPECT_TRUE(says(v, std::string(" waits for ") + what + how + "\n"));
  expect_well(keeps(arrange));
}

template <class Object, class... Arguments>
std::shared_ptr<Object> kept(Arguments&&... arguments) {
  return std::make_shared<Object>(std::forward<Arguments>(arguments)...);
}

// In a select of a fiber or of a task, behind a clause that never happens. `make` is called there.
template <class Make>
void start_select(scope& s, bool as_task, Make make) {
  const channel<int> never(0);
  const auto nothing = [](auto&&...) {};
  if (!as_task)
    s.go([=]() mutable { select(never.on_receive(nothing), make(nothing)); });
  else
    go_in(s, [](auto beside, auto of, auto f) -> task<> {
      co_await async_select(beside.on_receive(f), of(f));
    }(never, make, nothing));
}

// For fibers and for tasks.
template <class Start>
void expect_select_found(const std::string& how, Start start) {
  for (const bool as_task : {false, true})
    expect_found([=](scope& s) { return std::function<void()>(start(s, as_task)); }, "a select", ", " + how);
}

TEST(lost_wake_ups, of_a_select_that_receives) {
  expect_select_found("one of whose channels has an element", [](scope& s, bool as_task) {
    channel<int> ch(1);
    start_select(s, as_task, [ch](auto f) { return ch.on_receive(f); });
    return [ch]() mutable { ch.send(1); };
  });
  expect_select_found("one of whose channels is closed", [](scope& s, bool as_task) {
    channel<int> ch(1);
    start_select(s, as_task, [ch](auto f) { return ch.on_receive(f); });
    return [ch]() mutable { ch.close(); };
  });
  expect_select_found("on one of whose channels somebody sends", [](scope& s, bool as_task) {
    channel<int> ch(0);
    start_select(s, as_task, [ch](auto f) { return ch.on_receive(f); });
    return [ch, &s] { s.go([ch]() mutable { ch.send(1); }); };
  });
}

TEST(lost_wake_ups, of_a_select_that_sends) {
  expect_select_found("one of whose channels has room", [](scope& s, bool as_task) {
    channel<int> ch(1);
    ch.send(0);
    start_select(s, as_task, [ch](auto f) { return ch.on_send(1, f); });
    return [ch]() mutable { (void)ch.receive(); };
  });
  expect_select_found("from one of whose channels somebody receives", [](scope& s, bool as_task) {
    channel<int> ch(0);
    start_select(s, as_task, [ch](auto f) { return ch.on_send(1, f); });
    return [ch, &s] { s.go([ch]() mutable { (void)ch.receive(); }); };
  });
}

TEST(lost_wake_ups, of_a_select_that_waits_for_a_future_or_an_end) {
  expect_select_found("one of whose futures is ready", [](scope& s, bool as_task) {
    auto p = kept<promise<int>>();
    auto f = kept<future<int>>(p->get_future());
    start_select(s, as_task, [f](auto g) { return f->on_ready(g); });
    return [p] { p->set_value(1); };
  });
  expect_select_found("one of whose fibers or tasks has ended", [](scope& s, bool as_task) {
    auto e = kept<event>();
    auto awaited = kept<fiber>(spawn([e] { e->wait(); }));
    start_select(s, as_task, [awaited](auto f) { return on_end(*awaited, f); });
    return [e, awaited] { e->set(); };
  });
}

std::shared_ptr<pipe_ends> kept_pipe() { return std::make_shared<pipe_ends>(make_pipe()); }
void write_byte(pipe_ends& p) { p.writer.write_all(std::as_bytes(std::span("x", 1))); }

TEST(lost_wake_ups, of_a_select_that_waits_for_a_descriptor) {
  expect_select_found("one of whose descriptors is ready", [](scope& s, bool as_task) {
    auto p = kept_pipe();
    start_select(s, as_task, [p](auto f) { return p->reader.on_readable(f); });
    return [p] { write_byte(*p); };
  });
}

TEST(lost_wake_ups, of_who_waits_for_a_descriptor) {
  for (const bool as_task : {false, true})
    expect_found(
        [=](scope& s) {
          auto p = kept_pipe();
          if (as_task)
            go_in(s, [](auto of) -> task<> { co_await of->reader.async_wait_readable(); }(p));
          else
            s.go([p] { p->reader.wait_readable(); });
          return [p] { write_byte(*p); };
        },
        "a descriptor to become readable", ", which it is");
  expect_found(
      [](scope& s) {
        auto p = kept_pipe();
        s.go([p] {
          std::byte block[4096]{};
          for (int i = 0; i < 64; ++i) p->writer.write_all(block);
        });
        return [p] {
          std::byte block[4096];
          for (int i = 0; i < 64; ++i) p->reader.read_exactly(block);
        };
      },
      "a descriptor to become writable", ", which it is");
}

TEST(lost_wake_ups, have_not_hit_a_select_that_could_only_meet_itself) {
  expect_failure_of_another_kind([] {
    channel<int> ch(0);
    select(ch.on_send(1, [] {}), ch.on_receive([](auto) {}));
  });
}

TEST(lost_wake_ups, have_not_hit_a_select_that_waits_for_a_timer) {
  expect_well([] {
    channel<int> ch(0);
    const channel<int> null;
    ticker every(1h);
    for (int i = 0; i < 3; ++i) select(ch.on_receive([](auto) {}), every.on_receive([](auto) {}));
    select(ch.on_receive([](auto) {}), after(24h, [] {}));
  });
}

}  // namespace
}  // namespace thrum
