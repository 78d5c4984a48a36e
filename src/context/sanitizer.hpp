// What AddressSanitizer and ThreadSanitizer must be told about stacks and switches; nothing in other builds.
#pragma once

#include <cstddef>

#include "base/sanitizers.hpp"

#if defined(THRUM_ASAN)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(THRUM_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_func_exit();
#define THRUM_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define THRUM_NO_TSAN
#endif

// For functions that switch. The processor mispredicts the return from every function that is entered on one side of
// a switch and left on the other, so these are inlined into the calls that wait; under a sanitizer they stay functions
// of their own, because ThreadSanitizer's shadow stack changes in the middle.
#if defined(THRUM_ASAN) || defined(THRUM_TSAN)
#define THRUM_SWITCHES [[gnu::noinline]] THRUM_NO_TSAN
#else
#define THRUM_SWITCHES [[gnu::always_inline]]
#endif

namespace thrum::context {

// Per stack of execution (a fiber's, or a worker's own).
struct sanitizer_state {
#if defined(THRUM_ASAN)
  void* fake_stack = nullptr;
  const void* bottom = nullptr;  // Lowest address.
  std::size_t size = 0;
#endif
#if defined(THRUM_TSAN)
  void* fiber = nullptr;
#endif
};

#if defined(THRUM_ASAN)
inline void leave_stack(sanitizer_state& from, const sanitizer_state& to, bool for_ever) noexcept {
  // A null save slot tells ASan that the stack dies and its fake frames can be freed.
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &from.fake_stack, to.bottom, to.size);
}
inline void arrive_on_stack(sanitizer_state& self) noexcept {
  __sanitizer_finish_switch_fiber(self.fake_stack, nullptr, nullptr);
}
// A fiber starts on this stack, which a dead one may have left poisoned.
inline void adopt_stack(sanitizer_state& s, void* bottom, std::size_t size) noexcept {
  __asan_unpoison_memory_region(static_cast<char*>(bottom) + 4096, size - 4096);
  s = {nullptr, bottom, size};
}
inline void adopt_thread_stack(sanitizer_state& s) noexcept {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return;
  ::pthread_attr_getstack(&attributes, &bottom, &s.size);
  ::pthread_attr_destroy(&attributes);
  s.bottom = bottom;
}
inline void forget_stack(sanitizer_state&) noexcept {}
#elif defined(THRUM_TSAN)
[[gnu::always_inline]] THRUM_NO_TSAN inline void leave_stack(sanitizer_state&, const sanitizer_state& to,
                                                             bool) noexcept {
  __tsan_switch_to_fiber(to.fiber, 0);
}
[[gnu::always_inline]] THRUM_NO_TSAN inline void arrive_on_stack(sanitizer_state&) noexcept {}
// TSan's fibers are large and limited in number: they stay with the control block.
inline void adopt_stack(sanitizer_state& s, void*, std::size_t) noexcept {
  if (!s.fiber) s.fiber = __tsan_create_fiber(0);
}
inline void adopt_thread_stack(sanitizer_state& s) noexcept { s.fiber = __tsan_get_current_fiber(); }
inline void forget_stack(sanitizer_state& s) noexcept {
  if (s.fiber) __tsan_destroy_fiber(s.fiber);
}
#else
inline void leave_stack(sanitizer_state&, const sanitizer_state&, bool) noexcept {}
inline void arrive_on_stack(sanitizer_state&) noexcept {}
inline void adopt_stack(sanitizer_state&, void*, std::size_t) noexcept {}
inline void adopt_thread_stack(sanitizer_state&) noexcept {}
inline void forget_stack(sanitizer_state&) noexcept {}
#endif

// Before the last switch away from a stack that is left for ever, in the midst of so many functions that never return.
// Clang tells ThreadSanitizer of entry and exit also where it instruments nothing else; the next to run under this
// handle would find those entries on top of its own.
[[gnu::always_inline]] THRUM_NO_TSAN inline void forget_frames([[maybe_unused]] int count) noexcept {
#if defined(THRUM_TSAN) && defined(__clang__)
  for (int i = 0; i < count; ++i) __tsan_func_exit();
#endif
}

}  // namespace thrum::context
