// The victim in `hog`: an activity that wants to sleep 1 ms at a time, and how late it wakes up.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>

#include "lab/child.hpp"
#include "lab/histogram.hpp"

namespace thrum::lab {

class ticker {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds period{1};

  explicit ticker(const nlohmann::json& order)
      : end_(clock::now() + std::chrono::duration_cast<clock::duration>(
                                std::chrono::duration<double>(order.at("seconds").get<double>()))) {}

  bool over() const { return clock::now() >= end_; }
  clock::time_point end() const { return end_; }

  // It woke up now and had asked for `due`.
  void tick(clock::time_point due) {
    auto now = clock::now();
    ticks_ += now < end_;
    lateness_.add(now - due);
  }

  // Sleeps period after period in the model's own way, until the end.
  template <class Sleep>
  void run(Sleep sleep) {
    while (!over()) {
      auto due = clock::now() + period;
      sleep(period);
      tick(due);
    }
  }

  void report() const {
    say({{"result",
          {{"ticks", ticks_},
           {"p50_us", lateness_.percentile_us(50)},
           {"p99_us", lateness_.percentile_us(99)},
           {"max_us", lateness_.max_us()},
           {"lateness_us", lateness_.curve()}}}});
  }

 private:
  clock::time_point end_;
  std::int64_t ticks_ = 0;
  histogram lateness_;
};

// The hog: computes and never calls anything that could wait. Goes on a little longer than the ticker looks.
inline void never_yield(ticker::clock::time_point end) {
  while (ticker::clock::now() < end + std::chrono::milliseconds(5)) {
  }
}

}  // namespace thrum::lab
