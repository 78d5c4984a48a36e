// hog_fairness for the programs in C++: what a hog does, and the ticker that sleeps 1 ms in a loop.
#pragma once
#include <time.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace hog {

using clock = std::chrono::steady_clock;

inline clock::time_point after(double seconds) {
  return clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
}

// About 100 microseconds of computing that the compiler cannot remove.
inline void spin() {
  uint64_t x = 1;
  for (int i = 0; i < 100000; ++i) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    asm volatile("" : "+r"(x));
  }
}

// One round of a hog: it computes, or it sits in a system call that it has told nobody about, or it calls
// its runtime again and again without ever having to wait.
template <class CallRuntime>
void once(const std::string& kind, CallRuntime call_runtime) {
  if (kind == "spin") return spin();
  if (kind == "call") return call_runtime();
  timespec fifty_ms{0, 50000000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &fifty_ms, nullptr);
}

// Sleeps once, says that it is ready (the hogs start only then, so that a ticker that never gets to run
// again shows as one very late tick), and ticks until `end`. Returns by how many microseconds each tick
// came too late.
template <class SleepOneMillisecond, class Ready>
std::vector<double> tick_until(clock::time_point end, SleepOneMillisecond sleep, Ready ready) {
  std::vector<double> late;
  late.reserve(8192);
  sleep();
  ready();
  for (auto begin = clock::now(); begin < end; begin = clock::now()) {
    sleep();
    late.push_back(std::chrono::duration<double, std::micro>(clock::now() - begin).count() - 1000);
  }
  return late;
}

}  // namespace hog
