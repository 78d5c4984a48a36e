// Copying in the handler; see the header.
#include "context/stack_copy.hpp"

#include <algorithm>
#include <new>

#include <sys/mman.h>
#include <ucontext.h>

namespace thrum::context {
namespace {

// Of the innermost function, below its stack pointer.
constexpr std::uintptr_t red_zone = 128;

#if defined(__x86_64__)
constexpr int dwarf_order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                               REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
constexpr int at_sp = 7, at_ip = 16;

void read_registers(const ucontext_t& u, interrupted_registers& r) noexcept {
  for (int i = 0; i < 17; ++i) r.in_order[i] = static_cast<std::uint64_t>(u.uc_mcontext.gregs[dwarf_order[i]]);
}
#else
constexpr int at_fp = 0, at_sp = 1, at_ip = 2;

void read_registers(const ucontext_t& u, interrupted_registers& r) noexcept {
  r.in_order[at_fp] = u.uc_mcontext.regs[29];
  r.in_order[at_sp] = u.uc_mcontext.sp;
  r.in_order[at_ip] = u.uc_mcontext.pc;
}
#endif

}  // namespace

stack_copy::stack_copy() {
  void* area = ::mmap(nullptr, area_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) throw std::bad_alloc();
  area_ = static_cast<std::uint64_t*>(area);
}

stack_copy::~stack_copy() { ::munmap(area_, area_size); }

// The red zones of AddressSanitizer lie in the stack and are copied with it; and nobody synchronises with its owner,
// which is this thread. Volatile, or the compiler would call memcpy, which is intercepted.
__attribute__((no_sanitize("address", "thread", "undefined"))) void stack_copy::take(const void* ucontext,
                                                                                     const void* lowest,
                                                                                     const void* top) noexcept {
  read_registers(*static_cast<const ucontext_t*>(ucontext), registers_);
  const auto sp = registers_.in_order[at_sp];
  const auto floor = reinterpret_cast<std::uintptr_t>(lowest);
  top_ = reinterpret_cast<std::uintptr_t>(top);
  on_another_stack_ = sp < floor || sp >= top_;
  if (on_another_stack_) return;
  from_ = std::max(sp - red_zone, floor) & ~std::uintptr_t{15};
  const auto words = std::min<std::size_t>(top_ - from_, copied_max) / sizeof(std::uint64_t);
  const auto* source = reinterpret_cast<const volatile std::uint64_t*>(from_);
  volatile std::uint64_t* target = area_;
  for (std::size_t i = 0; i < words; ++i) target[i] = moved(source[i]);
  for (std::size_t i = words; i < words_; ++i) target[i] = 0;
  words_ = words;
  for (auto& word : registers_.in_order) word = moved(word);
}

void stack_copy::unwind(trace& out) const noexcept {
  out.count = 0;
  const auto ip = registers_.in_order[at_ip];
#if defined(__x86_64__)
  if (!on_another_stack_) return capture(out, registers_);
  out.frames[out.count++] = reinterpret_cast<void*>(ip + 1);
#else
  out.frames[out.count++] = reinterpret_cast<void*>(ip + 1);
  if (on_another_stack_) return;
  // A frame record is the caller's record and the return address. Callers' records lie higher.
  const auto* const end = area_ + words_;
  const auto* record = reinterpret_cast<const std::uint64_t*>(registers_.in_order[at_fp]);
  while (out.count < trace_depth && record >= area_ && record + 1 < end && record[1] != 0) {
    out.frames[out.count++] = reinterpret_cast<void*>(record[1]);
    const auto* next = reinterpret_cast<const std::uint64_t*>(record[0]);
    if (next <= record) return;
    record = next;
  }
#endif
}

}  // namespace thrum::context
