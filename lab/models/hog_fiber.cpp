// Hogs as fibers: cooperative, so nothing interrupts them either; but thrum's monitor sees that a worker is
// stuck and hands its processor, with all waiting fibers, to another OS thread.

#include <thrum/thrum.hpp>
#include <vector>

#include "lab/models/models.hpp"
#include "lab/ticker.hpp"

namespace thrum::lab {

void hog_fiber(const nlohmann::json& order) {
  thrum::run([&] {
    ticker t(order);
    std::vector<thrum::fiber> hogs;
    for (int i = 0; i < order.at("hogs").get<int>(); ++i) hogs.push_back(thrum::spawn([&t] { never_yield(t.end()); }));
    t.run([](auto d) { thrum::this_fiber::sleep_for(d); });
    for (thrum::fiber& f : hogs) f.join();
    t.report();
  });
}

}  // namespace thrum::lab
