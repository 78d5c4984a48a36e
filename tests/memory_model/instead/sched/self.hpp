// Stands in for src/sched/self.hpp: modelled threads share one thread of the system.
#pragma once

#include "memory_model/explorer.hpp"

namespace thrum::sched {

class worker;

inline worker* this_worker() noexcept { return static_cast<worker*>(memory_model::thread_local_pointer()); }
inline void set_this_worker(worker* w) noexcept { memory_model::thread_local_pointer() = w; }

}  // namespace thrum::sched
