// The contended path of the runtime's spinlock: spin, then yield, then sleep.
//
// Who has met the owner once will meet it again: while both want the lock all the time, as two workers do that use one
// channel, its cache line and those that it guards change cores with every section, which costs several times what the
// section does. So a contender looks away for the time of some sections, and the owner gets them done.
#include <thrum/detail/spinlock.hpp>

#include "base/cpu.hpp"
#include "base/fork.hpp"
#include "os/thread.hpp"

namespace thrum::detail {

void spinlock::lock_slow() noexcept {
  constexpr int pauses_min = 8, pauses_max = 64;
  for (unsigned round = 0;; ++round) {
    for (int pauses = pauses_min; pauses <= pauses_max; pauses *= 2) {
      base::cpu_relax(pauses);
      if (try_lock()) return;
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
