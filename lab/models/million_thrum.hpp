// The sleepers of `million` that thrum runs. A fiber and a task differ in how one is started; the rest is this.
#pragma once

#include <chrono>
#include <exception>
#include <nlohmann/json.hpp>
#include <thrum/thrum.hpp>

#include "lab/crowd.hpp"

namespace thrum::lab {

// start(all, sleepers) starts one sleeper, which at its end calls all.leave() and sleepers.done(). Both outlive it.
template <class Start>
void raise_on_thrum(const nlohmann::json& order, Start start) {
  crowd all(order, crowd::made_of::fibers_or_tasks);
  thrum::run([&] {
    thrum::wait_group sleepers;
    while (all.wants_another()) {
      sleepers.add();
      try {
        start(all, sleepers);
      } catch (const std::exception& e) {
        sleepers.done();
        all.stop(e.what());
      }
    }
    all.weigh([] { thrum::this_fiber::sleep_for(std::chrono::milliseconds(1)); });
    sleepers.wait();
  });
  all.finish();
}

}  // namespace thrum::lab
