// Pinned fibers beside hogs, system calls and hand-offs: each resumes on its own thread, and none is forgotten.
#include <memory>
#include <vector>

#include <unistd.h>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

// What it does between two looks at its thread.
void wait_somehow(dice& random, channel<int>& numbers, mutex& m, condition_variable& changed) {
  switch (random.below(6)) {
    case 0:
      return this_fiber::yield();
    case 1:
      return this_fiber::sleep_for(std::chrono::microseconds(random.below(300)));
    case 2:
      if (random.one_in(2))
        numbers.try_send(1);
      else
        (void)numbers.receive_for(100us);
      return;
    case 3: {
      std::unique_lock hold(m);
      if (random.one_in(2))
        changed.notify_all();
      else
        changed.wait_for(hold, 100us);
      return;
    }
    case 4:
      return spawn([] { this_fiber::yield(); }).join();
    default:
      return random.one_in(4) ? block(100us) : spin(50us);
  }
}

void storm(sched::scheduler_options options) {
  options.pace = hurried;
  bare_runtime rt(options);
  rt.run([] {
    channel<int> numbers(4);
    mutex m;
    condition_variable changed;
    scope all;
    for (unsigned i = 0; i < 24; ++i)
      all.go([&, i] {
        dice random(i);
        for (int round = 0; round < 4 * scale; ++round) {
          std::unique_ptr<this_fiber::pin> stay;
          if (i % 3 != 0) stay = std::make_unique<this_fiber::pin>();
          const auto thread = ::gettid();
          for (int k = 0; k < 5; ++k) {
            wait_somehow(random, numbers, m, changed);
            if (stay) ASSERT_EQ(::gettid(), thread);
          }
        }
      });
    all.join();
  });
}

THRUM_STRESS_SUITE(pin_storm);

TEST_P(pin_storm, all_come_back_to_their_threads) {
  repeat([] { storm({.processors = GetParam()}); });
}

TEST_P(pin_storm, all_come_back_to_their_threads_without_membarrier) {
  repeat([] { storm({.processors = GetParam(), .membarrier = false}); });
}

}  // namespace
}  // namespace thrum::stress
