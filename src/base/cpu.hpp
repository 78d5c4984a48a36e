// Small facts about the processor: a spin hint and the cache line size.
#pragma once

#include <cstddef>

namespace thrum::base {

inline constexpr std::size_t cache_line = 64;

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

inline void cpu_relax(int times) noexcept {
  for (int i = 0; i < times; ++i) cpu_relax();
}

}  // namespace thrum::base
