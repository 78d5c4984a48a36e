// The trade of servers whose peers behave badly.
#pragma once

#include "trades.hpp"

namespace thrum::soak {

std::unique_ptr<trade> make_lines(std::uint64_t seed, surroundings where);

}  // namespace thrum::soak
