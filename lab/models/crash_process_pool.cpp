// Jobs as calls in a process_pool: fibers wait for processes that are there already. A crash costs its own call, and a
// new worker.

#include <ranges>
#include <thrum/thrum.hpp>

#include "lab/experiments.hpp"
#include "lab/job.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void crash_process_pool(const nlohmann::json& order) {
  const job_order o(order);
  thrum::run([&] {
    thrum::process_pool pool({.workers = static_cast<unsigned>(processors_available())});
    thrum::for_each_concurrent(std::views::iota(0, o.jobs), processors_available(), [&](int job) {
      std::error_code error;
      if (pool.call(error, compute, o.steps, o.crashes(job)))
        tell_done();
      else
        tell_failed(error.message());
    });
    pool.join();
  });
}

}  // namespace thrum::lab
