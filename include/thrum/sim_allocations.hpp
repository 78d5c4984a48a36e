// Lets memory run out in a simulation: replaces operator new and delete. To be included in exactly one source of a test
// program; then sim::check with `.in_turn = sim::fault::allocation` has each allocation of the program fail once.
//
// Outside of simulations the operators are malloc and free. ThreadSanitizer brings operators of its own, which cannot
// be replaced: under it sim::check refuses the fault.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_THREAD__)
#define THRUM_SIM_CANNOT_COUNT_ALLOCATIONS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THRUM_SIM_CANNOT_COUNT_ALLOCATIONS 1
#endif
#endif

#if !defined(THRUM_SIM_CANNOT_COUNT_ALLOCATIONS)

namespace thrum::detail {

bool sim_allocation_fails() noexcept;  // Counts it. False outside of a simulated program.
bool sim_count_allocations() noexcept;

// In the one source: tells the simulation that it is asked.
[[maybe_unused]] static const bool sim_allocations_are_counted = sim_count_allocations();

inline void* sim_allocate(std::size_t size, std::size_t alignment) noexcept {
  if (sim_allocation_fails()) return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size == 0 ? 1 : size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
inline void* sim_allocate_or_throw(std::size_t size, std::size_t alignment) {
  if (void* p = sim_allocate(size, alignment)) return p;
  throw std::bad_alloc();
}

}  // namespace thrum::detail

// The array forms of the standard library call these. Not inlined: compilers would take free() for a mistake.
void* operator new(std::size_t size) { return thrum::detail::sim_allocate_or_throw(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return thrum::detail::sim_allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return thrum::detail::sim_allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return thrum::detail::sim_allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

#endif
