// Stack traces of the running code and of suspended contexts.
//
// A suspended context is unwound where it lies, by the C++ runtime's own unwinder: thrum_context_visit's call frame
// information says that its caller is the suspended frame. Nothing is written to the fiber's stack, no frame pointers
// are needed, and it works for code built by other compilers.
#pragma once

#include <cstdint>
#include <span>

#include "context/context.hpp"

namespace thrum::context {

inline constexpr int trace_depth = 64;

struct trace {
  void* frames[trace_depth];  // Return addresses, innermost first.
  int count = 0;
};

// The calling code's stack; `skip` frames nearest to the caller are left out.
void capture(trace& out, int skip = 0) noexcept;

// The stack of a context that is suspended and stays so during the call.
void capture(trace& out, const context& suspended) noexcept;

// The registers of interrupted code, in the order of thrum_context_visit_interrupted (x86-64).
struct interrupted_registers {
  std::uint64_t in_order[17] = {};
};
#if defined(__x86_64__)
// The stack of code that was interrupted with these, and stays so during the call.
void capture(trace& out, const interrupted_registers& registers) noexcept;
#endif

// Demangling allocates: not in a signal handler, which may have interrupted malloc.
enum class symbol_names { demangled, as_they_are };

// One line per frame to standard error: "    #0 name (module+0x1234)".
void print(const trace& t, symbol_names names = symbol_names::demangled) noexcept;

// The demangled name of the function that a frame belongs to, cut where `out` ends. False when it has none.
bool name_of(void* address, std::span<char> out) noexcept;

}  // namespace thrum::context
