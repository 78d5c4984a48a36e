// Unwinding with _Unwind_Backtrace; symbols from the dynamic linker, else from the file.
#include "context/unwind.hpp"

#include <cstdint>
#include <cstdlib>
#include <memory>

#include <cxxabi.h>
#include <dlfcn.h>
#include <unwind.h>

#include "context/symbols.hpp"
#include "os/report.hpp"

extern "C" void thrum_context_visit(const thrum::context::context* c, void (*visit)(void*), void* argument);

namespace thrum::context {
namespace {

struct collector {
  trace& out;
  int skip;
};

_Unwind_Reason_Code collect(_Unwind_Context* frame, void* argument) {
  auto& c = *static_cast<collector*>(argument);
  const auto ip = _Unwind_GetIP(frame);
  if (ip == 0 || c.out.count == trace_depth) return _URC_END_OF_STACK;
  if (c.skip > 0)
    --c.skip;
  else
    c.out.frames[c.out.count++] = reinterpret_cast<void*>(ip);
  return _URC_NO_REASON;
}

// Frames between _Unwind_Backtrace's caller and the suspended frame: collect_suspended and thrum_context_visit.
constexpr int visiting_frames = 2;

[[gnu::noinline]] void collect_suspended(void* argument) {
  _Unwind_Backtrace(&collect, argument);
  asm volatile("" ::: "memory");  // No tail call: the frame is counted in visiting_frames.
}

void print_frame(int index, void* address, symbol_names names) noexcept {
  Dl_info info{};
  // A return address points behind the call; one byte back is inside it.
  const auto pc = reinterpret_cast<std::uintptr_t>(address) - 1;
  if (!::dladdr(reinterpret_cast<void*>(pc), &info) || !info.dli_fname) {
    os::report("    #%d %p\n", index, address);
    return;
  }
  char local[512];
  const char* symbol = info.dli_sname;
  if (!symbol && name_from_file(info.dli_fname, info.dli_fbase, pc, local)) symbol = local;
  int status = -1;
  std::unique_ptr<char, void (*)(void*)> name(
      symbol && names == symbol_names::demangled ? abi::__cxa_demangle(symbol, nullptr, nullptr, &status) : nullptr,
      &std::free);
  const char* shown = status == 0 ? name.get() : symbol ? symbol : "?";
  const auto module_offset = static_cast<std::size_t>(pc - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
  os::report("    #%d %s (%s+0x%zx)\n", index, shown, info.dli_fname, module_offset);
}

}  // namespace

[[gnu::noinline]] void capture(trace& out, int skip) noexcept {
  out.count = 0;
  collector c{out, skip + 1};
  _Unwind_Backtrace(&collect, &c);
}

void capture(trace& out, const context& suspended) noexcept {
  out.count = 0;
  collector c{out, visiting_frames};
  thrum_context_visit(&suspended, &collect_suspended, &c);
}

void print(const trace& t, symbol_names names) noexcept {
  for (int i = 0; i < t.count; ++i) print_frame(i, t.frames[i], names);
}

}  // namespace thrum::context
