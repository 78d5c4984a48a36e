// Address space: reserving, giving pages back, guard pages with and without a mapping each.
#pragma once

#include <cstddef>
#include <span>

namespace thrum::os {

inline constexpr std::size_t page_size = 4096;  // Checked at start-up; see memory.cpp.

// Address space without memory: pages appear, zeroed, when touched. Null when there is none left.
void* reserve(std::size_t size) noexcept;
void release(void* address, std::size_t size) noexcept;
// The same, shared with the children that the process will fork.
void* reserve_shared(std::size_t size) noexcept;

// Gives the pages back; the range stays reserved and reads as zero.
void discard(void* address, std::size_t size) noexcept;

// Makes the page at `base + i * stride` inaccessible for each i < count, without a mapping each. False when the
// kernel cannot (before Linux 6.13); then nothing or a prefix is guarded.
bool install_guards(void* base, std::size_t stride, std::size_t count) noexcept;

// The same by mprotect, which splits the mapping. False at vm.max_map_count.
bool protect_page(void* address) noexcept;

// vm.max_map_count.
std::size_t max_map_count() noexcept;

}  // namespace thrum::os
