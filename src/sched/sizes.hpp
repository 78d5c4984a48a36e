// How large the parts of the scheduler are that have fixed sizes. The checker of weak memory (tests/memory_model) puts
// another header, with tiny ones, in this one's place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thrum::sched::sizes {

inline constexpr std::uint32_t run_queue = 4096;  // A burst of so many events on one processor stays in order.
inline constexpr std::uint32_t stolen_at_once = 128;
inline constexpr unsigned processors = 256;              // A multiple of 64.
inline constexpr int losses_of_who_starves = 16;         // Waiting for a shared_mutex.
inline constexpr std::size_t block_chunk = 512;          // Whole pages, for blocks of any multiple of 8 bytes.
inline constexpr std::size_t blocks_built_at_once = 64;  // So a small program's runtime touches few of the pages.

}  // namespace thrum::sched::sizes
