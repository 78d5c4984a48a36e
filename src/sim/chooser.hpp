// The strategies: who of several candidates runs next.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.hpp"
#include "sched/activity.hpp"
#include "sim/census.hpp"
#include "sim/schedule.hpp"

namespace thrum::sim {

class chooser {
 public:
  virtual ~chooser() = default;
  // An index into the candidates, of which there are two at least. The first could go on, or has waited longest.
  virtual std::size_t choose(std::uint64_t decision, const std::vector<sched::activity*>& candidates) = 0;
  // It has run so often in a row, though others could, that it seems to wait for them: let them run.
  virtual void demote(const sched::activity&) {}
  // `who` (0: nobody) has made a step, and those in `woken` can run since.
  virtual void step(std::uint64_t who, const sched::runnable_batch& woken) { (void)who, (void)woken; }
  // What the next schedule of the strategy `uniform` may go by.
  virtual census counted() { return {}; }
};

std::unique_ptr<chooser> make_chooser(const schedule& s, const census& known);

// Seeds that differ little shall give sources that differ much; `use` tells sources of one seed apart.
base::rng make_rng(std::uint64_t seed, std::uint64_t use) noexcept;

}  // namespace thrum::sim
