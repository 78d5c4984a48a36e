// A first program: a thousand fibers, each of which sleeps and then counts, and a main fiber that waits for
// them.
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thrum/thrum.hpp>

using namespace std::chrono_literals;

int main() {
  // run() starts a worker per core and runs its argument as the main fiber, whose result it returns.
  return thrum::run([] {
    thrum::mutex mutex;
    int count = 0;
    thrum::wait_group all;
    for (int i = 0; i < 1000; ++i) {
      all.add();
      thrum::go([&] {
        thrum::this_fiber::sleep_for(10ms);  // Blocks this fiber, and no thread.
        {
          std::lock_guard lock(mutex);
          ++count;
        }
        all.done();
      });
    }
    all.wait();
    std::printf("1000 fibers counted to %d\n", count);
    return 0;
  });
}
