// hog_fairness: greedy fibers keep all workers busy; a ticker sleeps 1 ms in a loop. How late does it wake?
#include "peers/hog.hpp"

#include <mutex>

#include "thrum_bench.hpp"

using namespace std::chrono_literals;

static void call_runtime_without_waiting() {
  thrum::mutex lock;
  thrum::channel<int> full(1);
  full.send(0);
  for (int i = 0; i < 1000; ++i) {
    std::lock_guard guard(lock);
    full.try_send(1);
  }
}

static void tick_beside_hogs(const bench::options& o) {
  auto end = hog::after(o.seconds);
  std::vector<double> late;
  thrum::channel<bool> ready(1);
  auto ticker = thrum::spawn([&] {
    late = hog::tick_until(
        end, [] { thrum::this_fiber::sleep_for(1ms); }, [&] { ready.send(true); });
  });
  ready.receive();
  auto hogs = bench::start(o.hogs * o.workers, [&](long) {
    while (hog::clock::now() < end) hog::once(o.kind, call_runtime_without_waiting);
  });
  ticker.join();
  bench::join(hogs);
  bench::report_ticks(o, late);
}

int main(int argc, char** argv) { return bench::in_runtime(argc, argv, tick_beside_hogs); }
