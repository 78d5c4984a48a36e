// Stands in for src/sched/sizes.hpp: so small that everything overflows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thrum::sched::sizes {

inline constexpr std::uint32_t run_queue = 2;
inline constexpr std::uint32_t stolen_at_once = 2;
inline constexpr unsigned processors = 64;
inline constexpr int losses_of_who_starves = 1;
inline constexpr std::size_t block_chunk = 4;
inline constexpr std::size_t blocks_built_at_once = 2;

}  // namespace thrum::sched::sizes
