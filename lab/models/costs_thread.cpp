// What an OS thread costs: start and join, a switch between two, a message there and back under a mutex.

#include <sched.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "lab/child.hpp"
#include "lab/models/models.hpp"
#include "lab/stopwatch.hpp"

namespace thrum::lab {
namespace {

void create_and_join(int n) {
  for (int i = 0; i < n; ++i) std::thread([] {}).join();
}

void yield_times(int n) {
  for (int i = 0; i < n; ++i) sched_yield();
}

// Two threads on one processor that give way to each other: n switches in all.
void switch_between_two(int n) {
  std::thread other(yield_times, n / 2);
  yield_times(n / 2);
  other.join();
}

// A box for one message.
class mailbox {
 public:
  void put(int value) {
    std::lock_guard hold(mutex_);
    value_ = value;
    full_ = true;
    changed_.notify_one();
  }
  int take() {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [&] { return full_; });
    full_ = false;
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool full_ = false;
  int value_ = 0;
};

void ping_pong(int n) {
  mailbox there, back;
  std::thread other([&] {
    for (int i = 0; i < n; ++i) back.put(there.take());
  });
  for (int i = 0; i < n; ++i) {
    there.put(i);
    back.take();
  }
  other.join();
}

}  // namespace

void costs_thread(const nlohmann::json& order) {
  int scale = order.at("scale");
  say({{"result",
        {{"create_join_ns", ns_each(100 * scale, create_and_join)},
         {"switch_ns", ns_each(2'000 * scale, switch_between_two)},
         {"round_trip_ns", ns_each(400 * scale, ping_pong)}}}});
}

}  // namespace thrum::lab
