// Hogs as stackless tasks: cooperative like fibers, and they sit on their worker's own stack; but a stuck
// worker's processor goes to another OS thread all the same, with all waiting tasks, and the hog keeps the stack.

#include <thrum/task.hpp>
#include <thrum/thrum.hpp>
#include <vector>

#include "lab/models/models.hpp"
#include "lab/ticker.hpp"

namespace thrum::lab {
namespace {

thrum::task<> hog(ticker::clock::time_point end) {
  never_yield(end);
  co_return;
}

thrum::task<> tick_beside(int count, ticker& t) {
  std::vector<thrum::task_handle<void>> hogs;
  for (int i = 0; i < count; ++i) hogs.push_back(thrum::spawn(hog(t.end())));
  while (!t.over()) {
    auto due = ticker::clock::now() + ticker::period;
    co_await thrum::async_sleep_for(ticker::period);
    t.tick(due);
  }
  for (auto& h : hogs) co_await h.async_join();
}

}  // namespace

void hog_task(const nlohmann::json& order) {
  thrum::run([&] {
    ticker t(order);
    thrum::spawn(tick_beside(order.at("hogs"), t)).join();
    t.report();
  });
}

}  // namespace thrum::lab
