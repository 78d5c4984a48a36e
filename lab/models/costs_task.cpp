// What a stackless task costs: spawn and join, a switch between two, a message there and back through
// unbuffered channels.

#include <thrum/task.hpp>
#include <thrum/thrum.hpp>

#include "lab/child.hpp"
#include "lab/models/models.hpp"
#include "lab/stopwatch.hpp"

namespace thrum::lab {
namespace {

thrum::task<> nothing() { co_return; }

thrum::task<> create_and_join(int n) {
  for (int i = 0; i < n; ++i) co_await thrum::spawn(nothing()).async_join();
}

thrum::task<> yield_times(int n) {
  for (int i = 0; i < n; ++i) co_await thrum::async_yield();
}

// Two tasks that give way to each other: n switches in all.
thrum::task<> switch_between_two(int n) {
  auto other = thrum::spawn(yield_times(n / 2));
  co_await yield_times(n / 2);
  co_await other.async_join();
}

thrum::task<> pass(thrum::channel<int> from, thrum::channel<int> to, int n) {
  for (int i = 0; i < n; ++i) {
    std::optional<int> message = co_await from.async_receive();
    co_await to.async_send(*message);
  }
}

thrum::task<> ping_pong(int n) {
  thrum::channel<int> there(0), back(0);
  auto other = thrum::spawn(pass(there, back, n));
  for (int i = 0; i < n; ++i) {
    co_await there.async_send(i);
    co_await back.async_receive();
  }
  co_await other.async_join();
}

// The main fiber only waits until the task that is measured has ended.
auto in_a_task(thrum::task<> measured(int n)) {
  return [measured](int n) { thrum::spawn(measured(n)).join(); };
}

}  // namespace

void costs_task(const nlohmann::json& order) {
  int scale = order.at("scale");
  thrum::run([&] {
    say({{"result",
          {{"create_join_ns", ns_each(2'000 * scale, in_a_task(create_and_join))},
           {"switch_ns", ns_each(20'000 * scale, in_a_task(switch_between_two))},
           {"round_trip_ns", ns_each(5'000 * scale, in_a_task(ping_pong))}}}});
  });
}

}  // namespace thrum::lab
