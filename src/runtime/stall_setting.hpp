// What THRUM_STALL_LOG says.
#pragma once

#include <thrum/stall.hpp>

namespace thrum {

// `environment`, unless it is null or empty, overrides the limit and whether stacks are sampled: "20ms", "20ms,stacks",
// "500us", "1s", "off". Throws std::invalid_argument.
stall_log choose_stall_log(stall_log asked, const char* environment);

}  // namespace thrum
