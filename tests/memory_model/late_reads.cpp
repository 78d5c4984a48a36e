// Guesses, and what makes them true.
#include "memory_model/late_reads.hpp"

#include <algorithm>
#include <utility>

namespace thrum::memory_model {

void late_reads::start(int limit) {
  left_ = limit;
  loads_.clear();
  open_.clear();
  running_alone_.clear();
}

const late_reads::waiting_load* late_reads::open_of(std::size_t thread) const {
  for (const auto& l : open_)
    if (l.thread == thread) return &l;
  return nullptr;
}

bool late_reads::is_open(std::size_t thread) const { return open_of(thread) != nullptr; }

bool late_reads::may_wait(std::size_t thread, std::memory_order order) const {
  return left_ > 0 && thread != 0 && order == std::memory_order_relaxed && !is_open(thread);
}

late_reads::waiting_load late_reads::note(std::size_t thread, std::size_t where,
                                          const std::shared_ptr<late_load>& load) {
  return {thread, where, memory_.seen_by(thread, where), memory_.seen_of(thread, thread), load};
}

void late_reads::read(std::size_t thread, std::size_t where, std::uint16_t number,
                      const std::shared_ptr<late_load>& load) {
  loads_.push_back(note(thread, where, load));
  if (const auto value = memory_.at(where, number).value;
      std::find(load->now.begin(), load->now.end(), value) == load->now.end())
    load->now.push_back(value);
  if (std::exchange(load->has_run_alone, true)) return;
  running_alone_.push_back(load);
}

std::uint64_t late_reads::guess(std::size_t thread, std::size_t where, const std::shared_ptr<late_load>& load,
                                std::size_t which) {
  --left_;
  auto l = note(thread, where, load);
  l.value = load->later[which];
  loads_.push_back(l);
  open_.push_back(l);
  return l.value;
}

bool late_reads::may_touch(std::size_t thread, std::size_t where) const {
  const auto* l = open_of(thread);
  return !l || l->where != where;
}

bool late_reads::may_read(std::size_t thread, std::size_t where, std::uint16_t number) const {
  const std::size_t guesser = memory_.at(where, number).guesser;
  return guesser == 0 || guesser == thread || !is_open(guesser);
}

bool late_reads::may_go_on(std::size_t thread) const {
  return std::all_of(open_.begin(), open_.end(), [&](const waiting_load& l) {
    return l.thread == thread || memory_.seen_of(thread, l.thread) <= l.before;
  });
}

// Coherence: the message is behind what the load's thread knew of, and its store does not happen after the load.
bool late_reads::could_read(const waiting_load& l, std::size_t thread, std::size_t where, std::uint16_t number) const {
  return l.thread != thread && l.where == where && memory_.seen_of(thread, l.thread) <= l.before &&
         memory_.at(where, number).rank > memory_.at(where, l.seen).rank;
}

void late_reads::stored(std::size_t thread, const stored_value& s) {
  for (auto& load : running_alone_) load->alone.push_back(s);
  const auto number = memory_.last_number(s.where);
  if (const auto* l = open_of(thread)) {
    const auto& alone = l->load->alone;
    if (std::find(alone.begin(), alone.end(), s) == alone.end()) memory_.mark_guessed(s.where, number, thread);
  }
  for (auto& l : loads_) {
    if (!could_read(l, thread, s.where, number)) continue;
    auto& [now, later, alone, has_run_alone] = *l.load;
    const auto knows = [&](const std::vector<std::uint64_t>& values) {
      return std::find(values.begin(), values.end(), s.stored) != values.end();
    };
    if (!knows(now) && !knows(later)) later.push_back(s.stored);
  }
  std::erase_if(open_, [&](const waiting_load& l) {
    if (l.value != s.stored || !could_read(l, thread, s.where, number)) return false;
    memory_.read_late(l.thread, s.where, number, l.before);
    return true;
  });
}

}  // namespace thrum::memory_model
