// Depth first by replay, and by drawing.
#include "memory_model/chooser.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace thrum::memory_model {

void chooser::begin(const limits& l) {
  limits_ = l;
  seed_ = l.seed;
  choices_.clear();
}

void chooser::start() {
  next_ = 0;
  if (!draws()) return;
  random_ = base::rng(seed_ * 0x9e3779b97f4a7c15u);
  for (int i = 0; i < 4; ++i) random_.next();  // Seeds that follow one another begin alike.
  by_priority_ = random_.below(2) == 0;
  preempts_one_in_ = 2u << random_.below(6);
  stale_one_in_ = 2u << random_.below(4);
  for (std::size_t i = 0; i < threads_max; ++i) {
    priorities_[i] = static_cast<int>(i);
    std::swap(priorities_[i], priorities_[random_.below(static_cast<std::uint32_t>(i + 1))]);
  }
  lowest_ = 0;
  // How long the execution will be is not known: so any order of magnitude.
  const auto horizon = 16u << random_.below(7);
  changes_.clear();
  for (int i = 0; i < limits_.preemptions; ++i) changes_.push_back(1 + static_cast<int>(random_.below(horizon)));
}

bool chooser::advance() {
  if (draws()) {
    ++seed_;
    return true;
  }
  choices_.resize(next_);
  while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().alternatives()) choices_.pop_back();
  if (choices_.empty()) return false;
  ++choices_.back().taken;
  return true;
}

const chooser::choice& chooser::next(std::size_t count) {
  if (next_ == choices_.size()) choices_.push_back({0, count, nullptr});
  const auto& c = choices_[next_++];
  if (c.count != count) {
    std::fprintf(stderr, "memory model: an execution does not repeat itself\n");
    std::abort();
  }
  return c;
}

std::size_t chooser::choose(std::size_t count) { return count == 1 ? 0 : next(count).taken; }

std::size_t chooser::of_highest_priority(const std::vector<std::size_t>& threads) const {
  std::size_t best = 0;
  for (std::size_t i = 1; i < threads.size(); ++i)
    if (priorities_[threads[i]] > priorities_[threads[best]]) best = i;
  return best;
}

std::size_t chooser::who_goes_on(const std::vector<std::size_t>& threads, int step) {
  if (!draws()) return threads[choose(threads.size())];
  if (by_priority_) {
    if (std::find(changes_.begin(), changes_.end(), step) != changes_.end()) priorities_[threads[0]] = --lowest_;
    return threads[of_highest_priority(threads)];
  }
  if (random_.below(preempts_one_in_) != 0) return threads[0];
  return threads[random_.below(static_cast<std::uint32_t>(threads.size()))];
}

std::size_t chooser::who_is_next(const std::vector<std::size_t>& threads) {
  if (!draws()) return threads[choose(threads.size())];
  return threads[by_priority_ ? of_highest_priority(threads)
                              : random_.below(static_cast<std::uint32_t>(threads.size()))];
}

bool chooser::fails() { return draws() ? random_.below(16) == 0 : choose(2) == 1; }

std::size_t chooser::which_message(std::size_t count) {
  if (!draws()) return choose(count);
  return random_.below(stale_one_in_) == 0 ? random_.below(static_cast<std::uint32_t>(count)) : 0;
}

std::size_t chooser::which_message(std::size_t count, std::shared_ptr<late_load>& load) {
  if (next_ == choices_.size()) choices_.push_back({0, count, std::make_shared<late_load>()});
  const auto& c = next(count);
  load = c.load;
  return c.taken;
}

}  // namespace thrum::memory_model
