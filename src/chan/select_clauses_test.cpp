// The clauses of select beyond channels and timers, the list made at run time, and async_select.
#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <thrum/select_end.hpp>
#include <thrum/select_list.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class select_clauses_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, select_clauses_test, worker_counts, count_name);

constexpr auto nothing = [](auto&&...) {};

TEST_P(select_clauses_test, the_end_of_a_fiber_or_task) {
  run([] {
    channel<int> gate(0), other(0);
    fiber f = spawn([=]() mutable { (void)gate.receive(); });
    auto t = spawn([](channel<int> g) -> task<int> {
      const auto v = co_await g.async_receive();
      co_return *v;
    }(gate));
    EXPECT_EQ(select(on_end(f, nothing), on_end(t, nothing), otherwise(nothing)), 2u);
    go([=]() mutable {
      settle();
      gate.send(1);
      gate.send(1);
    });
    int ends = 0;
    while (f.joinable() || t.joinable()) {
      if (f.joinable() && t.joinable())
        select(on_end(f,
                      [&] {
                        ++ends;
                        f.join();
                      }),
               other.on_receive(nothing), on_end(t, [&] {
                 ++ends;
                 EXPECT_EQ(t.join(), 1);
               }));
      else if (f.joinable())
        select(on_end(f, [&] { f.join(); }));
      else
        select(on_end(t, [&] { EXPECT_EQ(t.join(), 1); }));
    }
    EXPECT_EQ(ends, 1);
    EXPECT_THROW(select(on_end(f, nothing), otherwise(nothing)), std::system_error);
  });
}

TEST_P(select_clauses_test, a_losing_end_stays_joinable) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      event go_on;
      fiber f = spawn([&] { go_on.wait(); });
      channel<int> ch(1);
      fiber sender = spawn([=]() mutable { ch.send(1); });
      EXPECT_EQ(select(on_end(f, nothing), ch.on_receive(nothing)), 1u);
      go_on.set();
      f.join();
    }
  });
}

TEST_P(select_clauses_test, ends_race_with_channels) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      channel<int> ch(1);
      fiber a = spawn([] {});
      fiber b = spawn([=]() mutable { ch.send(1); });
      bool received = false, ended = false;
      select(on_end(a, [&] { ended = true; }), ch.on_receive([&](auto) { received = true; }));
      EXPECT_NE(received, ended);
      a.join();
      b.join();
      EXPECT_EQ(ch.try_receive().has_value(), !received);
    }
  });
}

TEST_P(select_clauses_test, the_result_of_a_future) {
  run([] {
    promise<int> p, q;
    auto f = p.get_future();
    auto g = q.get_future().share();
    EXPECT_EQ(select(f.on_ready(nothing), g.on_ready(nothing), otherwise(nothing)), 2u);
    go([&] {
      settle();
      q.set_value(2);
    });
    EXPECT_EQ(select(f.on_ready(nothing), g.on_ready([&] { EXPECT_EQ(g.get(), 2); })), 1u);
    p.set_value(1);
    bool first = false;
    while (!first) select(f.on_ready([&] { first = true; }), g.on_ready(nothing));  // Fair.
    EXPECT_EQ(f.get(), 1);
    EXPECT_THROW(select(f.on_ready(nothing), otherwise(nothing)), no_state);
  });
}

TEST_P(select_clauses_test, a_stream_that_is_readable_or_writable) {
  run([] {
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto out = net::tcp_stream::connect(l.local_address());
    auto in = l.accept();
    channel<int> ch(0);
    EXPECT_EQ(select(in.on_readable(nothing), ch.on_receive(nothing), otherwise(nothing)), 2u);
    EXPECT_EQ(select(out.on_writable(nothing), ch.on_receive(nothing)), 0u);
    for (int i = 0; i < 3; ++i) {
      go([&] {
        settle();
        out.write_all(std::as_bytes(std::span("x", 1)));
      });
      EXPECT_EQ(select(ch.on_receive(nothing), in.on_readable(nothing)), 1u);
      std::byte b;
      EXPECT_EQ(in.read_some(std::span(&b, 1)), 1u);
      EXPECT_EQ(select(in.on_readable(nothing), otherwise(nothing)), 1u);
    }
    go([ch]() mutable { ch.send(1); });
    EXPECT_EQ(select(ch.on_receive(nothing), in.on_readable(nothing)), 0u);
    out.shutdown_write();
    EXPECT_EQ(select(ch.on_receive(nothing), in.on_readable(nothing)), 1u);
    std::byte b;
    EXPECT_EQ(in.read_some(std::span(&b, 1)), 0u);
    in.close();
    EXPECT_THROW(in.on_readable(nothing), std::system_error);
  });
}

TEST_P(select_clauses_test, a_stream_closed_by_another_ends_the_wait) {
  run([] {
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto out = net::tcp_stream::connect(l.local_address());
    auto in = l.accept();
    fiber f = spawn([&] { EXPECT_EQ(select(in.on_readable(nothing)), 0u); });
    settle();
    in.close();
    f.join();
  });
}

TEST_P(select_clauses_test, cancellation_as_a_clause_does_not_throw) {
  run([] {
    channel<int> ch(1);
    fiber f = spawn([=]() mutable {
      EXPECT_EQ(select(ch.on_receive(nothing), on_cancel(nothing)), 1u);
      // From now on at once, and ahead of what is ready.
      ch.try_send(1);
    });
    settle();
    f.request_stop();
    EXPECT_NO_THROW(f.join());
    scope s;
    s.cancel();
    EXPECT_EQ(select(ch.on_receive(nothing), otherwise(nothing), on_cancel(nothing)), 2u);
    s.join();
  });
}

TEST_P(select_clauses_test, the_same_clauses_for_tasks) {
  run([] {
    channel<int> ch(0);
    promise<int> p;
    auto f = p.get_future();
    event go_on, at_last;
    fiber slow = spawn([&] { go_on.wait(); });
    auto t = spawn([&]() -> task<std::vector<std::size_t>> {
      std::vector<std::size_t> chosen;
      const auto wait = [&]() -> task<> {
        chosen.push_back(co_await async_select(ch.on_receive(nothing), on_end(slow, nothing), f.on_ready(nothing),
                                               after(24h, nothing), on_cancel(nothing)));
      };
      co_await wait();
      co_await wait();
      chosen.push_back(co_await async_select(ch.on_receive(nothing), otherwise(nothing)));
      chosen.push_back(co_await async_select(ch.on_receive(nothing), after(1ms, nothing)));
      at_last.set();
      chosen.push_back(co_await async_select(ch.on_receive(nothing), on_cancel(nothing)));
      co_return chosen;
    });
    ch.send(1);
    settle();
    p.set_value(1);
    at_last.wait();
    settle();
    t.request_stop();
    const auto chosen = t.join();
    EXPECT_EQ(chosen[0], 0u);
    EXPECT_EQ(chosen[1], 2u);
    EXPECT_EQ(chosen[2], 1u);
    go_on.set();
    slow.join();
  });
}

TEST_P(select_clauses_test, a_list_made_at_run_time) {
  run([] {
    for (const std::size_t n : {1u, 5u, 300u}) {
      std::vector<channel<int>> all;
      for (std::size_t i = 0; i < n; ++i) all.emplace_back(0);
      for (std::size_t i = 0; i < n; i += 7) {
        const auto expected = (i * 31) % n;
        fiber f = spawn([&] { all[expected].send(static_cast<int>(expected)); });
        std::size_t got = n;
        const auto build = [&](select_list& l) {
          for (auto& ch : all) l.add(ch.on_receive([&](auto v) { got = static_cast<std::size_t>(*v); }));
          l.add(after(24h, nothing));
          EXPECT_EQ(l.size(), n + 1);
        };
        if (i % 2 == 0) {
          select_list l;
          build(l);
          EXPECT_EQ(l.wait(), expected);
          EXPECT_THROW(l.wait(), std::logic_error);
        } else {
          spawn([&]() -> task<> {
            select_list l;
            build(l);
            const auto chosen = co_await l.async_wait();
            EXPECT_EQ(chosen, expected);
          }).join();
        }
        EXPECT_EQ(got, expected);
        f.join();
      }
    }
    select_list empty;
    EXPECT_THROW(empty.wait(), std::logic_error);
  });
}

TEST_P(select_clauses_test, plain_threads_wait_for_ends_and_results) {
  run([] {
    promise<int> p;
    auto f = p.get_future();
    event go_on;
    fiber slow = spawn([&] { go_on.wait(); });
    std::size_t first = 9, second = 9;
    std::thread t([&] {
      first = select(f.on_ready(nothing), on_end(slow, nothing));
      second = select(f.on_ready(nothing), on_end(slow, nothing), after(24h, nothing));
    });
    settle();
    go_on.set();
    t.join();
    EXPECT_EQ(first, 1u);
    EXPECT_EQ(second, 1u);
    slow.join();
  });
}

}  // namespace
}  // namespace thrum
