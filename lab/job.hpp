// The job of `crash`: computes for a while, and one of them writes where nothing is.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "lab/child.hpp"

namespace thrum::lab {

struct job_order {
  explicit job_order(const nlohmann::json& order)
      : jobs(order.at("jobs").get<int>()), steps(order.at("steps").get<std::uint64_t>()) {}

  bool crashes(int job) const { return job == jobs / 2; }

  int jobs;
  std::uint64_t steps;  // Of one job.
};

// Steps of a xorshift generator: nothing but computing.
inline std::uint64_t compute(std::uint64_t steps, bool crash) {
  std::uint64_t x = 88172645463325252ull;
  for (std::uint64_t i = 0; i < steps; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  if (crash) {
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
  }
  return x;
}

// To the laboratory: a job has ended well, or its failure was noticed.
inline void tell_done() { say({{"done", 1}}); }
inline void tell_failed(const std::string& how) { say({{"failed", how}}); }

}  // namespace thrum::lab
