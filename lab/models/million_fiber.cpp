// A million sleepers, each a fiber: the same code as with threads, but no kernel object stands behind a
// sleeper.

#include <thrum/thrum.hpp>

#include "lab/models/million_thrum.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void million_fiber(const nlohmann::json& order) {
  raise_on_thrum(order, [](crowd& all, thrum::wait_group& sleepers) {
    thrum::go([&all, &sleepers] {
      all.arrive();
      thrum::this_fiber::sleep_for(all.nap());
      all.leave();
      sleepers.done();
    });
  });
}

}  // namespace thrum::lab
