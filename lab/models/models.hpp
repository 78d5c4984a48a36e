// All models, by experiment. Each is a small file of its own beside this one; read them to compare the
// styles.
#pragma once

#include <nlohmann/json.hpp>

namespace thrum::lab {

// A model runs in a child process of its own, gets its order and answers with say() (see lab/child.hpp).
using model_function = void(const nlohmann::json& order);

model_function million_process, million_thread, million_fiber, million_task;
model_function c10k_process, c10k_thread, c10k_pool, c10k_event_loop, c10k_fiber, c10k_fiber_borrow, c10k_task;
model_function costs_process, costs_thread, costs_fiber, costs_task;
model_function hog_process, hog_thread, hog_event_loop, hog_fiber, hog_task;
model_function crash_thread, crash_fiber, crash_process, crash_process_pool;

}  // namespace thrum::lab
