// The client of c10k; runs in a child process, like the models that it measures.
#pragma once

#include <nlohmann/json.hpp>

namespace thrum::lab {

void measure_c10k(const nlohmann::json& order);

}  // namespace thrum::lab
