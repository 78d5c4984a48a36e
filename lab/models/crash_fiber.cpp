// Jobs as fibers, as many at a time as there are workers. Light, but no protection: they share their memory.

#include <ranges>
#include <thrum/thrum.hpp>

#include "lab/experiments.hpp"
#include "lab/job.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void crash_fiber(const nlohmann::json& order) {
  const job_order o(order);
  thrum::run([&] {
    thrum::for_each_concurrent(std::views::iota(0, o.jobs), processors_available(), [&](int job) {
      compute(o.steps, o.crashes(job));
      tell_done();
    });
  });
}

}  // namespace thrum::lab
