// Hashes of "happened before".
#include "sim/causality.hpp"

#include <utility>

#include "base/mix.hpp"
#include "sched/activity.hpp"
#include "sched/worker.hpp"

namespace thrum::sim {

void causality::begin() noexcept { detail::listens_to_touches.store(this, std::memory_order_relaxed); }
void causality::end() noexcept { detail::listens_to_touches.store(nullptr, std::memory_order_relaxed); }

void causality::touched(const void* object) noexcept {
  if (!sched::this_worker()) return;  // A thread of the program's own, which is not simulated.
  if (object == &detail::the_clock)
    has_read_the_clock_ = true;
  else if (touched_.empty() || touched_.back() != object)
    touched_.push_back(object);
}

void causality::step(std::uint64_t who, bool yielded, std::int64_t now, const sched::runnable_batch& woken) {
  auto& own = lines_[who];
  const bool of_all = std::exchange(own.has_yielded, yielded) || yielded;
  auto hash = base::mix(own.last, of_all ? state_ : last_of_all_);
  if (std::exchange(has_read_the_clock_, false)) hash = base::mix(hash, static_cast<std::uint64_t>(now));
  for (const auto* object : touched_) hash = base::mix(hash, users_[object]);
  for (const auto* object : touched_) users_[object] = hash;
  touched_.clear();
  if (of_all) last_of_all_ = hash;
  advance(own, hash);
  for (auto* a = woken.first; a; a = a->next) depend(a->id.load(std::memory_order_relaxed), hash, &own);
}

std::uint64_t causality::state_at(std::int64_t now, std::uint64_t last, bool preempted) const noexcept {
  const auto found = lines_.find(last);
  const auto who = found == lines_.end() ? 0 : base::mix(found->second.name, preempted);
  return base::mix(base::mix(state_, static_cast<std::uint64_t>(now)), who);
}

void causality::due(const sched::runnable_batch& woken) {
  for (auto* a = woken.first; a; a = a->next) depend(a->id.load(std::memory_order_relaxed), 0, nullptr);
}

void causality::depend(std::uint64_t id, std::uint64_t on, line* creator) {
  const auto [found, is_new] = lines_.try_emplace(id);  // No reference to a line becomes invalid.
  auto& l = found->second;
  if (is_new && creator) l.name = base::mix(creator->name, ++creator->children);
  if (&l != creator) advance(l, base::mix(l.last, on));
}

void causality::advance(line& l, std::uint64_t step) noexcept {
  state_ -= base::mix(l.name, l.last);
  l.last = step;
  state_ += base::mix(l.name, l.last);
}

}  // namespace thrum::sim
