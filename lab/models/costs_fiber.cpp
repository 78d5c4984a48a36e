// What a fiber costs: spawn and join, a switch between two, a message there and back through unbuffered
// channels.

#include <thrum/thrum.hpp>

#include "lab/child.hpp"
#include "lab/models/models.hpp"
#include "lab/stopwatch.hpp"

namespace thrum::lab {
namespace {

void create_and_join(int n) {
  for (int i = 0; i < n; ++i) thrum::spawn([] {}).join();
}

void yield_times(int n) {
  for (int i = 0; i < n; ++i) thrum::this_fiber::yield();
}

// Two fibers that give way to each other: n switches in all.
void switch_between_two(int n) {
  thrum::fiber other = thrum::spawn([=] { yield_times(n / 2); });
  yield_times(n / 2);
  other.join();
}

void ping_pong(int n) {
  thrum::channel<int> there(0), back(0);
  thrum::fiber other = thrum::spawn([&] {
    for (int i = 0; i < n; ++i) back.send(*there.receive());
  });
  for (int i = 0; i < n; ++i) {
    there.send(i);
    back.receive();
  }
  other.join();
}

}  // namespace

void costs_fiber(const nlohmann::json& order) {
  int scale = order.at("scale");
  thrum::run([&] {
    say({{"result",
          {{"create_join_ns", ns_each(2'000 * scale, create_and_join)},
           {"switch_ns", ns_each(20'000 * scale, switch_between_two)},
           {"round_trip_ns", ns_each(5'000 * scale, ping_pong)}}}});
  });
}

}  // namespace thrum::lab
