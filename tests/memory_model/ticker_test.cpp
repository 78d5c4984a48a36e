// A ticker whose timer fires while others ask for its ticks.
#include <thrum/ticker.hpp>

#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "memory_model/machine.hpp"

namespace thrum::memory_model {
namespace {

std::optional<tick_time> try_receive(detail::tick_source& s) {
  detail::take_due_tick(s);
  detail::element_storage<tick_time> tick;
  const auto r = detail::channel_receive(detail::ticks_of(s), tick.address(), detail::only_try);
  return r == detail::channel_result::done ? tick.take() : std::nullopt;
}

// The worker is about to hand out the first tick when the second is due, and somebody asks who does not wait.
void asked_while_it_ticks(program& p) {
  new_machines();
  struct state {
    machine m{1};
    std::shared_ptr<detail::tick_source> source;
  };
  auto s = std::make_shared<state>();
  p.thread("main", [=] {
    s->m.join(s->m.start([s = s.get()] { s->source = detail::make_tick_source(1'000, 1'000); }));
    tick_time last{};
    {
      detail::tick_listener listening(s->source);
      yield();
      os::time_ns = 2'000;
      for (int asked = 0; asked < 2; ++asked) {
        if (const auto due = try_receive(*s->source)) {
          require(*due > last, "a tick comes after one that was due later");
          last = *due;
        }
        yield();
      }
    }
    detail::stop_ticks(*s->source);
    s->source.reset();
    s->m.shut_down();
  });
}
TEST(memory_ticker, ticks_come_in_order) {
  expect_holds(asked_while_it_ticks, {.preemptions = 1, .stale_reads = 0});
  expect_holds_at_random(asked_while_it_ticks, 20'000);
}
TEST(memory_ticker, a_timer_that_is_not_waited_for_is_noticed) {
  expect_noticed(asked_while_it_ticks, left_out("timer_set::cancel(", operation::load),
                 {.preemptions = 1, .stale_reads = 0});
}

}  // namespace
}  // namespace thrum::memory_model
