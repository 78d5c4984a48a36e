// Stands in for src/base/cpu.hpp: who spins lets the others go on.
#pragma once

#include <cstddef>

#include "memory_model/explorer.hpp"

namespace thrum::base {

inline constexpr std::size_t cache_line = 64;

inline void cpu_relax() noexcept { memory_model::yield(); }
inline void cpu_relax(int) noexcept { memory_model::yield(); }

}  // namespace thrum::base
