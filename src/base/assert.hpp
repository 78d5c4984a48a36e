// Invariant checks and the one way to die.
//
// THRUM_ASSERT checks an invariant of the runtime; it is compiled in when THRUM_ASSERTIONS is set (all test builds).
// panic() ends the process after one clear sentence; misuse that has no sane recovery comes here.
#pragma once

namespace thrum::base {

// Prints "thrum: fatal: <message>", the current fiber and its stack when there is one, then aborts.
[[noreturn]] void panic(const char* message) noexcept;

// printf-style message; formats into a fixed buffer, so that it works without memory.
[[noreturn, gnu::format(printf, 1, 2)]] void panicf(const char* format, ...) noexcept;

// Called by panic() to add the fiber and its stack; installed by the scheduler.
using panic_hook = void (*)() noexcept;
void set_panic_hook(panic_hook hook) noexcept;

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace thrum::base

namespace thrum::base {
#if defined(THRUM_ASSERTIONS)
inline constexpr bool assertions = true;
#else
inline constexpr bool assertions = false;
#endif
}  // namespace thrum::base

#if defined(THRUM_ASSERTIONS)
#define THRUM_ASSERT(expression) \
  ((expression) ? void(0) : ::thrum::base::assertion_failed(#expression, __FILE__, __LINE__))
#else
#define THRUM_ASSERT(expression) void(sizeof((expression) ? 1 : 0))
#endif
