// What contended asks, for all programs in C++: so many contenders, and what each does under the lock, which is the
// same for all of them. A program supplies how contenders are started and joined, and its locks.
//
// All contenders are started before the first may go on, and the clock runs from then on: what starting costs is
// another bench's question.
#pragma once
#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "bench.hpp"

namespace bench {

// Latch, Mutex, SharedMutex, Semaphore: as in std. start(n, f) runs f(0) to f(n - 1) at a time; join waits for them.
template <class Latch, class Mutex, class SharedMutex, class Semaphore, class Start, class Join>
class contention {
 public:
  contention(const options& o, Start start, Join join) : workers_(o.workers), start_(start), join_(join) {}

  void measure(long operations) {
    for (long contenders : {8, 64, 1000}) {
      for (auto [kind, ask] : {std::pair{"mutex", &contention::mutex}, std::pair{"rwlock", &contention::rwlock},
                               std::pair{"semaphore", &contention::semaphore}}) {
        (this->*ask)(contenders, operations / 10 / contenders);
        const long each = operations / contenders;
        const auto suffix = std::string(kind).append("-").append(std::to_string(contenders));
        report(suffix, "ns_op", (this->*ask)(contenders, each) / double(contenders * each), "ns");
      }
    }
  }

 private:
  // Nanoseconds in which `contenders` have called once(contender, i) for all i < each.
  template <class Once>
  double race(long contenders, long each, Once once) {
    Latch ready(contenders), go(1);
    auto all = start_(contenders, [&](long contender) {
      ready.count_down();
      go.wait();
      for (long i = 0; i < each; ++i) once(contender, i);
    });
    ready.wait();
    return timed_ns([&] {
      go.count_down();
      join_(all);
    });
  }

  double mutex(long contenders, long each) {
    Mutex m;
    long counter = 0;
    const double ns = race(contenders, each, [&](long, long) {
      std::lock_guard hold(m);
      ++counter;
    });
    if (counter != contenders * each) fail("The mutex lost an increment.", 1);
    return ns;
  }

  // Every twentieth operation writes, not all contenders' at the same time.
  double rwlock(long contenders, long each) {
    SharedMutex m;
    long counter = 0;
    const double ns = race(contenders, each, [&](long contender, long i) {
      if ((contender + i) % 20 == 0) {
        std::lock_guard hold(m);
        ++counter;
      } else {
        std::shared_lock hold(m);
        if (counter < 0) fail("The shared mutex let a reader see nonsense.", 1);
      }
    });
    long writes = 0;
    for (long c = 0; c < contenders; ++c)
      for (long i = 0; i < each; ++i) writes += (c + i) % 20 == 0;
    if (counter != writes) fail("The shared mutex lost an increment.", 1);
    return ns;
  }

  double semaphore(long contenders, long each) {
    const long permits = 2 * workers_;
    Semaphore s(permits);
    std::atomic<long> inside{0};
    const double ns = race(contenders, each, [&](long, long) {
      s.acquire();
      if (inside.fetch_add(1, std::memory_order_relaxed) >= permits) fail("The semaphore let too many in.", 1);
      inside.fetch_sub(1, std::memory_order_relaxed);
      s.release();
    });
    if (inside != 0) fail("The semaphore lost an activity.", 1);
    return ns;
  }

  const long workers_;
  const Start start_;
  const Join join_;
};

}  // namespace bench
