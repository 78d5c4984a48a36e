// What the `mixed` bench asks of a server: the first byte of a request says whether to compute before answering, and
// computing is 1 ms of the thread's own CPU time: time in which the kernel ran something else does not count.
// For C and C++.
#ifndef THRUM_BENCH_COMPUTE_H
#define THRUM_BENCH_COMPUTE_H
#include <stdint.h>
#include <time.h>

enum { THRUM_BENCH_PLAIN = 'p', THRUM_BENCH_COMPUTE = 'c' };

static inline uint64_t thrum_bench_thread_cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void thrum_bench_compute_1ms(void) {
  const uint64_t end = thrum_bench_thread_cpu_ns() + 1000000u;
  uint64_t x = end;
  while (thrum_bench_thread_cpu_ns() < end)
    for (int i = 0; i < 10000; ++i) {
      x = x * 6364136223846793005u + 1442695040888963407u;
      __asm__ volatile("" : "+r"(x));
    }
}

#endif
