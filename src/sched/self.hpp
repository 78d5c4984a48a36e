// Who am I: the worker that the calling OS thread is, if any.
//
// A fiber may continue on another OS thread after any switch, so neither the address of a thread_local nor its value
// may be carried across one. A compiler that sees a thread_local does carry its address (GCC 12 calls even a noinline
// accessor once for two uses). So the accessor is volatile assembly, which is never merged, hoisted or deduced to be
// constant, under LTO neither; the variable has a C name and the initial-exec model for it.
// tests/migration_test.cpp checks it.
#pragma once

namespace thrum::sched {

class worker;

// Null on threads that are not workers.
[[gnu::always_inline]] inline worker* this_worker() noexcept {
  worker* w;
#if defined(__x86_64__)
  asm volatile(
      "movq thrum_this_worker@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(w));
#elif defined(__aarch64__)
  void* base;
  asm volatile(
      "adrp %0, :gottprel:thrum_this_worker\n\t"
      "ldr %0, [%0, #:gottprel_lo12:thrum_this_worker]\n\t"
      "mrs %1, tpidr_el0\n\t"
      "ldr %0, [%1, %0]"
      : "=&r"(w), "=&r"(base));
#endif
  return w;
}

void set_this_worker(worker* w) noexcept;

}  // namespace thrum::sched
