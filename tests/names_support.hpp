// What tests of names in a simulation share.
#pragma once

#include <thrum/sim_names.hpp>
#include <thrum/sim_network.hpp>

#include "support.hpp"
