// Hogs as OS threads: as with processes, the kernel's scheduler protects the ticker.

#include <thread>
#include <vector>

#include "lab/models/models.hpp"
#include "lab/ticker.hpp"

namespace thrum::lab {

void hog_thread(const nlohmann::json& order) {
  ticker t(order);
  std::vector<std::jthread> hogs;
  for (int i = 0; i < order.at("hogs").get<int>(); ++i) hogs.emplace_back([&t] { never_yield(t.end()); });
  t.run([](auto d) { std::this_thread::sleep_for(d); });
  t.report();
}

}  // namespace thrum::lab
