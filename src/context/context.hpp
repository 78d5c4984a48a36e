// The context switch: leave one stack, go on with another.
//
// Model. A context is four words: stack pointer, frame pointer, resume address, floating-point control. switch_to()
// is inline assembly that names every other register as clobbered, so the compiler saves only what is live at that
// very place; nothing is pushed, so there is no red zone to respect and a suspended frame unwinds as any other frame
// of switch_to()'s caller. The control words (MXCSR and x87; FPCR) are stored at every switch and loaded only where
// they differ, because loading them is slow and programs hardly ever change them.
//
// A new context starts in thrum_context_start (context_ARCH.S), whose unwind information says that it is the
// outermost frame: debuggers, backtrace() and exceptions stop there.
//
// Thread-local state: code that continues after switch_to() may run on another OS thread. The compiler must not carry
// an address of a thread_local across: see sched/self.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "context/sanitizer.hpp"

namespace thrum::context {

// The floating-point control words.
struct fp_control {
#if defined(__x86_64__)
  std::uint32_t mxcsr = 0;
  std::uint16_t x87 = 0;

  void read() noexcept { asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87)); }
  void load() const noexcept { asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87)); }
  bool same_settings(const fp_control& other) const noexcept {
    // Bits 0-5 of MXCSR are results, not settings: they must not make contexts look different.
    return (mxcsr ^ other.mxcsr) <= 0x3f && x87 == other.x87;
  }
#else
  std::uint64_t fpcr = 0;

  void read() noexcept { asm volatile("mrs %0, fpcr" : "=r"(fpcr)); }
  void load() const noexcept { asm volatile("msr fpcr, %0" : : "r"(fpcr)); }
  bool same_settings(const fp_control& other) const noexcept { return fpcr == other.fpcr; }
#endif
};

inline fp_control read_fp_control() noexcept {
  fp_control here;
  here.read();
  return here;
}

struct context {
  void* sp = nullptr;  // 0   The offsets are known to the assembly here and in context_ARCH.S.
  void* bp = nullptr;  // 8
  void* ip = nullptr;  // 16
  fp_control fp;
};
static_assert(offsetof(context, sp) == 0 && offsetof(context, bp) == 8 && offsetof(context, ip) == 16);

using entry_point = void (*)(void*);

extern "C" void thrum_context_start() noexcept;

// Prepares `c` so that the first switch to it calls entry(argument) on the stack that ends at `top` (16-aligned), with
// these floating-point control words. entry must never return.
inline void make(context& c, void* top, entry_point entry, void* argument,
                 const fp_control& fp = read_fp_control()) noexcept {
  auto* slots = static_cast<void**>(top) - 2;
  slots[0] = reinterpret_cast<void*>(entry);  // thrum_context_start pops both.
  slots[1] = argument;
  __atomic_store_n(&c.sp, slots, __ATOMIC_RELAXED);  // Schedulers prefetch what it points to, unsynchronised.
  c.bp = nullptr;
  c.ip = reinterpret_cast<void*>(&thrum_context_start);
  c.fp = fp;
}

// More to name where the compiler may use AVX-512.
#if defined(__AVX512F__)
#define THRUM_AVX512_REGISTERS                                                                                  \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
      "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define THRUM_AVX512_REGISTERS
#endif

// Saves the running context in `from` and continues `to`. Returns when somebody switches to `from`, possibly on
// another OS thread.
[[gnu::always_inline]] THRUM_NO_TSAN inline void switch_to(context& from, context& to) noexcept {
  from.fp.read();
  if (!from.fp.same_settings(to.fp)) [[unlikely]]
    to.fp.load();
#if defined(__x86_64__)
  context* f = &from;
  context* t = &to;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rsp, 0(%[f])\n\t"
      "movq %%rbp, 8(%[f])\n\t"
      "movq %%rax, 16(%[f])\n\t"
      "movq 0(%[t]), %%rsp\n\t"
      "movq 8(%[t]), %%rbp\n\t"
      "jmpq *16(%[t])\n\t"
      "ud2\n"
      "1:\n\t"
      "endbr64"
      : [f] "+D"(f), [t] "+S"(t)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
        "xmm14", "xmm15" THRUM_AVX512_REGISTERS);
#elif defined(__aarch64__)
  register context* f asm("x0") = &from;
  register context* t asm("x1") = &to;
  asm volatile(
      "adr x9, 1f\n\t"
      "mov x10, sp\n\t"
      "stp x10, x29, [x0]\n\t"
      "str x9, [x0, #16]\n\t"
      "ldp x10, x29, [x1]\n\t"
      "ldr x17, [x1, #16]\n\t"
      "mov sp, x10\n\t"
      "br x17\n"
      "1:\n\t"
      "hint #36"  // bti j
      : "+r"(f), "+r"(t)
      :
      : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x19",
        "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "memory", "cc", "v0", "v1", "v2", "v3",
        "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20",
        "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
#else
#error "thrum knows x86-64 and aarch64"
#endif
}

}  // namespace thrum::context
