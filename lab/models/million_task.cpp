// A million sleepers, each a stackless task: the same code as with fibers, but a sleeper keeps no stack, only
// its coroutine's frame. So each wait is marked: it is a co_await.

#include <thrum/task.hpp>
#include <thrum/thrum.hpp>

#include "lab/crowd.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {
namespace {

// What it refers to must outlive it: sleep_together() waits for all.
thrum::task<> sleeper(crowd& all, thrum::wait_group& sleepers) {
  all.arrive();
  co_await thrum::async_sleep_for(all.nap());
  all.leave();
  sleepers.done();
}

void sleep_together(crowd& all) {
  thrum::wait_group sleepers;
  while (all.wants_another()) {
    sleepers.add();
    try {
      thrum::go(sleeper(all, sleepers));
    } catch (const std::exception& e) {
      sleepers.done();
      all.stop(e.what());
    }
  }
  all.weigh([] { thrum::this_fiber::sleep_for(std::chrono::milliseconds(1)); });
  sleepers.wait();
}

}  // namespace

void million_task(const nlohmann::json& order) {
  crowd all(order, crowd::made_of::fibers_or_tasks);
  thrum::run([&] { sleep_together(all); });
  all.finish();
}

}  // namespace thrum::lab
