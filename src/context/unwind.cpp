// Unwinding with _Unwind_Backtrace; symbols from the dynamic linker, else from the file.
#include "context/unwind.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <cxxabi.h>
#include <dlfcn.h>
#include <unwind.h>

#include "context/symbols.hpp"
#include "os/report.hpp"

extern "C" void thrum_context_visit(const thrum::context::context* c, void (*visit)(void*), void* argument);
#if defined(__x86_64__)
extern "C" void thrum_context_visit_interrupted(const std::uint64_t* registers, void (*visit)(void*), void* argument);
#endif

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

// Frames between _Unwind_Backtrace's caller and the suspended frame: collect_suspended and what has called it.
constexpr int visiting_frames = 2;

[[gnu::noinline]] void collect_suspended(void* argument) {
  _Unwind_Backtrace(&collect, argument);
  asm volatile("" ::: "memory");  // No tail call: the frame is counted in visiting_frames.
}

// A return address points behind the call; one byte back is inside it.
std::uintptr_t call_before(void* return_address) noexcept {
  return reinterpret_cast<std::uintptr_t>(return_address) - 1;
}

// Calls use(name, info), where `info` says in which module the frame is. False, and does not, when it is in none.
template <class Use>
bool with_name(void* address, symbol_names names, Use use) noexcept {
  Dl_info info{};
  const auto pc = call_before(address);
  if (!::dladdr(reinterpret_cast<void*>(pc), &info) || !info.dli_fname) return false;
  char local[512];
  const char* symbol = info.dli_sname;
  if (!symbol && name_from_file(info.dli_fname, info.dli_fbase, pc, local)) symbol = local;
  int status = -1;
  std::unique_ptr<char, void (*)(void*)> name(
      symbol && names == symbol_names::demangled ? abi::__cxa_demangle(symbol, nullptr, nullptr, &status) : nullptr,
      &std::free);
  use(status == 0 ? name.get() : symbol ? symbol : "?", info);
  return true;
}

void print_frame(int index, void* address, symbol_names names) noexcept {
  const bool known = with_name(address, names, [&](const char* name, const Dl_info& info) {
    const auto offset =
        static_cast<std::size_t>(call_before(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    os::report("    #%d %s (%s+0x%zx)\n", index, name, info.dli_fname, offset);
  });
  if (!known) os::report("    #%d %p\n", index, address);
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

#if defined(__x86_64__)
void capture(trace& out, const interrupted_registers& registers) noexcept {
  out.count = 0;
  collector c{out, visiting_frames};
  thrum_context_visit_interrupted(registers.in_order, &collect_suspended, &c);
  // Readers take it for a return address and look one byte before it.
  if (out.count > 0) out.frames[0] = static_cast<std::byte*>(out.frames[0]) + 1;
}
#endif

bool name_of(void* address, std::span<char> out) noexcept {
  return with_name(address, symbol_names::demangled, [&](const char* name, const Dl_info&) {
    const auto length = std::min(std::strlen(name), out.size() - 1);
    std::memcpy(out.data(), name, length);
    out[length] = '\0';
  });
}

void print(const trace& t, symbol_names names) noexcept {
  for (int i = 0; i < t.count; ++i) print_frame(i, t.frames[i], names);
}

}  // namespace thrum::context
