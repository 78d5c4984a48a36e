// A million sleepers, each a fiber: the same code as with threads, but no kernel object stands behind a
// sleeper.

#include <system_error>
#include <thrum/thrum.hpp>

#include "lab/crowd.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {
namespace {

void sleep_together(crowd& all) {
  thrum::wait_group sleepers;
  while (all.wants_another()) {
    sleepers.add();
    try {
      thrum::go([&] {
        all.arrive();
        thrum::this_fiber::sleep_for(all.nap());
        all.leave();
        sleepers.done();
      });
    } catch (const std::exception& e) {
      sleepers.done();
      all.stop(e.what());
    }
  }
  all.weigh([] { thrum::this_fiber::sleep_for(std::chrono::milliseconds(1)); });
  sleepers.wait();
}

}  // namespace

void million_fiber(const nlohmann::json& order) {
  crowd all(order, crowd::made_of::fibers_or_tasks);
  thrum::run([&] { sleep_together(all); });
  all.finish();
}

}  // namespace thrum::lab
