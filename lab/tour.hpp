// `thrum lab tour`: all five experiments, short enough to watch.
#pragma once

#include "lab/experiments.hpp"

namespace thrum::lab {

// Prints each table as soon as it is there.
std::vector<experiment> run_tour(progress& shown);

}  // namespace thrum::lab
