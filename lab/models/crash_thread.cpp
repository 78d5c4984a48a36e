// Jobs on OS threads, one per processor: a crash in one is the end of all.

#include <atomic>
#include <thread>
#include <vector>

#include "lab/experiments.hpp"
#include "lab/job.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void crash_thread(const nlohmann::json& order) {
  const job_order o(order);
  std::atomic<int> next{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < processors_available(); ++i)
    threads.emplace_back([&] {
      for (int job; (job = next++) < o.jobs;) {
        compute(o.steps, o.crashes(job));
        tell_done();
      }
    });
}

}  // namespace thrum::lab
