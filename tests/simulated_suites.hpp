// How suites run in simulations: with THRUM_TEST_SIM set, in the form of a replay line, as "seed=3,how=pct".
#pragma once

#include <cstdlib>

#include <thrum/sim.hpp>

#include "sim/schedule.hpp"

namespace thrum::test {

// Null: they run in runtimes of their own.
inline const char* simulation_wanted() { return std::getenv("THRUM_TEST_SIM"); }

// In addition to what a suite wants by itself.
inline sim::options simulation(const sim::options& own = {}) { return sim::from_text(simulation_wanted(), own).chosen; }

}  // namespace thrum::test
