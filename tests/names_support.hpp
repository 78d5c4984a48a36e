// What tests of names in a simulation need. Allocations can fail in the program that includes it, in one source.
#pragma once

#include <thrum/sim_allocations.hpp>
#include <thrum/sim_names.hpp>
#include <thrum/sim_network.hpp>

#include "support.hpp"
