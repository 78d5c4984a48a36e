// Counting the steps of a program's activities.
#include "sim/census.hpp"

#include "base/mix.hpp"
#include "sched/activity.hpp"

namespace thrum::sim {

void census_taker::meet(const sched::runnable_batch& woken, std::uint64_t creator) {
  for (const auto* a = woken.first; a; a = a->next) {
    const auto id = a->id.load(std::memory_order_relaxed);
    const auto [found, is_new] = people_.try_emplace(id);
    if (!is_new || creator == 0 || creator == id) continue;
    auto& child = found->second;
    auto& parent = people_[creator];
    child.creator = creator;
    child.name = base::mix(parent.name, ++parent.children);
    parent.given_away += expected(child);
  }
}

std::uint64_t census_taker::expected(const person& p) const noexcept {
  const auto found = last_.find(p.name);
  return found == last_.end() ? 0 : found->second;
}

std::uint64_t census_taker::left(std::uint64_t id) {
  const auto& p = people_[id];
  const auto gone = p.steps + p.given_away;
  const auto all = expected(p);
  return all > gone ? all - gone : 1;
}

census census_taker::take() {
  census c;
  for (const auto& [id, p] : people_) {
    // Chains of creators are as long as the nesting of spawns.
    for (auto at = id; at != 0; at = people_.at(at).creator) c[people_.at(at).name] += p.steps;
  }
  return c;
}

}  // namespace thrum::sim
