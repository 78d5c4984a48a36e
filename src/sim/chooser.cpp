// The strategies: at random, by priorities (PCT), by a census (uniform), and as a replay line says.
#include "sim/chooser.hpp"

#include <algorithm>
#include <unordered_map>

#include "base/mix.hpp"

namespace thrum::sim {
namespace {

class random_walk final : public chooser {
 public:
  explicit random_walk(std::uint64_t seed) noexcept : rng_(make_rng(seed, 1)) {}

  std::size_t choose(std::uint64_t, const std::vector<sched::activity*>& candidates) override {
    return rng_.below(static_cast<std::uint32_t>(candidates.size()));
  }

 private:
  base::rng rng_;
};

// Everybody gets a random priority when first met, above `depth`; who runs at the k-th of depth - 1 random decisions
// gets priority k there. Whoever has had many turns becomes the last: some that wake each other could run for ever, and
// those that are to end them would never.
class by_priority final : public chooser {
 public:
  explicit by_priority(const options& o) : rng_(make_rng(o.seed, 2)), lowest_(o.depth) {
    for (unsigned k = 1; k < o.depth; ++k) changes_.push_back(rng_.next() % std::max<std::size_t>(o.horizon, 1));
    std::sort(changes_.begin(), changes_.end(), std::greater<>());
  }

  std::size_t choose(std::uint64_t decision, const std::vector<sched::activity*>& candidates) override {
    std::size_t best = highest(candidates);
    while (!changes_.empty() && changes_.back() <= decision) {
      standing_of(*candidates[best]).priority = static_cast<std::int64_t>(changes_.size());
      changes_.pop_back();
      best = highest(candidates);
    }
    if (++standing_of(*candidates[best]).turns < turns_max) return best;
    demote(*candidates[best]);
    return highest(candidates);
  }

  void demote(const sched::activity& a) override { standing_of(a) = {--demoted_, 0}; }

 private:
  static constexpr std::uint32_t turns_max = 1000;
  struct standing {
    std::int64_t priority = 0;
    std::uint32_t turns = 0;  // Since it was demoted.
  };

  std::size_t highest(const std::vector<sched::activity*>& candidates) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
      if (standing_of(*candidates[i]).priority > standing_of(*candidates[best]).priority) best = i;
    return best;
  }

  standing& standing_of(const sched::activity& a) {
    const auto [entry, is_new] = standings_.try_emplace(a.id.load(std::memory_order_relaxed));
    if (is_new) entry->second.priority = lowest_ + static_cast<std::int64_t>(rng_.next() >> 16);
    return entry->second;
  }

  base::rng rng_;
  const std::int64_t lowest_;
  std::int64_t demoted_ = 0;
  std::vector<std::size_t> changes_;  // The next one last.
  std::unordered_map<std::uint64_t, standing> standings_;
};

// Who has, with those it is still to create, n of all N steps before it runs next with a probability of n / N: so each
// interleaving of steps that do not block each other is as likely as any other, if the census is right.
class by_census final : public chooser {
 public:
  by_census(std::uint64_t seed, const census& known) : rng_(make_rng(seed, 1)), taker_(known) {}

  std::size_t choose(std::uint64_t, const std::vector<sched::activity*>& candidates) override {
    std::uint64_t all = 0;
    for (const auto* a : candidates) all += left(*a);
    auto drawn = rng_.next() % all;
    std::size_t i = 0;
    for (; drawn >= left(*candidates[i]); ++i) drawn -= left(*candidates[i]);
    return i;
  }

  void step(std::uint64_t who, const sched::runnable_batch& woken) override {
    if (who != 0) taker_.count(who);
    taker_.meet(woken, who);
  }
  census counted() override { return taker_.take(); }

 private:
  std::uint64_t left(const sched::activity& a) { return taker_.left(a.id.load(std::memory_order_relaxed)); }

  base::rng rng_;
  census_taker taker_;
};

class scripted final : public chooser {
 public:
  explicit scripted(const std::vector<deviation>& all) {
    for (const auto& d : all) choices_[d.decision] = d.choice;
  }

  std::size_t choose(std::uint64_t decision, const std::vector<sched::activity*>& candidates) override {
    const auto found = choices_.find(decision);
    return found == choices_.end() ? 0 : std::min<std::size_t>(found->second, candidates.size() - 1);
  }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> choices_;
};

}  // namespace

std::unique_ptr<chooser> make_chooser(const schedule& s, const census& known) {
  if (s.scripted) return std::make_unique<scripted>(s.deviations);
  if (s.chosen.how == strategy::pct) return std::make_unique<by_priority>(s.chosen);
  if (s.chosen.how == strategy::uniform) return std::make_unique<by_census>(s.chosen.seed, known);
  return std::make_unique<random_walk>(s.chosen.seed);
}

base::rng make_rng(std::uint64_t seed, std::uint64_t use) noexcept {
  return base::rng(base::scrambled(seed + use * 0x9e3779b97f4a7c15u));
}

}  // namespace thrum::sim
