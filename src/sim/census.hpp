// How many steps each activity of a program makes, as its earlier schedules tell: what the strategy `uniform` goes by.
//
// An activity is known in another schedule by its place among the children of its creator. A count is of the activity
// and all that it creates, directly or not.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "sched/seams.hpp"

namespace thrum::sim {

// Counts by names.
using census = std::unordered_map<std::uint64_t, std::uint64_t>;

// Takes a census of one schedule, and tells what is left by the last one.
class census_taker {
 public:
  explicit census_taker(const census& last) : last_(last) {}

  // It has made a step.
  void count(std::uint64_t id) { ++people_[id].steps; }
  // Whoever is new in `woken` is a child of `creator` (0: of nobody).
  void meet(const sched::runnable_batch& woken, std::uint64_t creator);
  // Steps that it has still to make, with all that it is still to create; one at least.
  std::uint64_t left(std::uint64_t id);

  census take();

 private:
  struct person {
    std::uint64_t name = 0;
    std::uint64_t creator = 0;
    std::uint64_t children = 0;
    std::uint64_t steps = 0;
    std::uint64_t given_away = 0;  // Of what it was to make, to its children.
  };

  std::uint64_t expected(const person& p) const noexcept;

  const census last_;
  std::unordered_map<std::uint64_t, person> people_;  // By the activities' numbers.
};

}  // namespace thrum::sim
