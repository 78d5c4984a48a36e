// A million sleepers, each an OS thread: std::thread and sleep_for. Each has a kernel stack, an id and two
// mappings.

#include <system_error>
#include <thread>
#include <vector>

#include "lab/crowd.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void million_thread(const nlohmann::json& order) {
  crowd all(order, crowd::made_of::kernel_tasks);
  std::vector<std::thread> threads;
  while (all.wants_another()) {
    try {
      threads.emplace_back([&all] {
        all.arrive();
        std::this_thread::sleep_for(all.nap());
        all.leave();
      });
    } catch (const std::system_error& e) {
      all.stop(explain_kernel_tasks(e.code().value()));
    }
  }
  all.weigh([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  for (std::thread& t : threads) t.join();
  all.finish();
}

}  // namespace thrum::lab
