// Creating tasks, for those who start them: spawn and go (src/task), and scopes.
#pragma once

#include <source_location>

#include "sched/task_control.hpp"

namespace thrum::detail {

// A task of the calling fiber's or task's runtime, which inherits its context values; to be started or abandoned.
// Throws as spawn() does.
sched::task_control& make_task(void* coroutine, std::source_location where);
void abandon_task(sched::task_control& t) noexcept;  // Its coroutine stays the caller's.

}  // namespace thrum::detail
