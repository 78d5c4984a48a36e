// A schedule, as the replay line has it: where its choices come from, and those that are made otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/sim.hpp>

namespace thrum::sim {

// At that decision the candidate of that number runs. 0 is the one that could simply go on, or has waited longest.
struct deviation {
  std::uint32_t decision;
  std::uint32_t choice;

  bool operator==(const deviation&) const = default;
};

struct schedule {
  options chosen;
  bool scripted = false;  // Decisions are 0 but for the deviations; the seed still rules all other choices.
  std::vector<deviation> deviations;

  bool operator==(const schedule&) const;
};

// "THRUM_SIM=seed=42,how=pct,depth=3" or "…,at=12:1+40:2"; without deviations "…,at=".
std::string to_line(const schedule& s);
// What follows "THRUM_SIM=". Throws std::invalid_argument with one clear sentence.
schedule from_text(std::string_view text, const options& defaults);

}  // namespace thrum::sim
