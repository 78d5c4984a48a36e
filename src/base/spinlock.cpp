// The contended path of the runtime's spinlock: spin, then yield, then sleep.
#include <thrum/detail/spinlock.hpp>

#include "base/cpu.hpp"
#include "base/fork.hpp"
#include "os/thread.hpp"

namespace thrum::detail {

void spinlock::lock_slow() noexcept {
  for (unsigned round = 0;; ++round) {
    for (int i = 0; i < 40; ++i) {
      if (try_lock()) return;
      base::cpu_relax();
    }
    base::refuse_after_fork();  // The owner may be a thread that the child does not have.
    // The owner was probably descheduled: give it our core, and if that does not help, sleep longer and longer.
    if (round < 8)
      os::yield_thread();
    else
      os::sleep_thread_ns(round < 32 ? 20'000 : 200'000);
  }
}

}  // namespace thrum::detail
