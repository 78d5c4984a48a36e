// A million sleepers, each a stackless task: the same code as with fibers, but a sleeper keeps no stack, only
// its coroutine's frame. So each wait is marked: it is a co_await.

#include <thrum/thrum.hpp>

#include "lab/models/million_thrum.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {
namespace {

thrum::task<> sleeper(crowd& all, thrum::wait_group& sleepers) {
  all.arrive();
  co_await thrum::async_sleep_for(all.nap());
  all.leave();
  sleepers.done();
}

}  // namespace

void million_task(const nlohmann::json& order) {
  raise_on_thrum(order, [](crowd& all, thrum::wait_group& sleepers) { thrum::go(sleeper(all, sleepers)); });
}

}  // namespace thrum::lab
