// What has happened in a schedule so far, but for the order of steps that have nothing in common.
//
// A step is what one activity does from where it is chosen to where somebody is chosen next. It depends on the step
// that its activity made before it, on the last steps that touched one of its objects (detail/touch.hpp), and on the
// step that made its activity runnable. The steps before and after a yield depend on all, and all on them: whoever
// yields waits for something that we do not know, and may share it beside us. Two schedules in which the same steps
// depend on the same steps lead to the same state, however they interleave the others. Their hashes are equal: each
// step's is made of those that it depends on, and the schedule's of the last step of each activity.
//
// The idea of traces is Mazurkiewicz's; to remember the states of a search by a hash of "happened before" is that of
// Musuvathi and Qadeer's CHESS.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include <thrum/detail/touch.hpp>

#include "sched/seams.hpp"

namespace thrum::sim {

class causality final : public detail::touch_listener {
 public:
  // Between these two steps are noted.
  void begin() noexcept;
  void end() noexcept;

  void touched(const void* object) noexcept override;

  // `who` has run until now, and gave way by itself or not; since then all in `woken`, among whom it may be, can run.
  void step(std::uint64_t who, bool yielded, std::int64_t now, const sched::runnable_batch& woken);
  // They can run since it is their time, or the network's.
  void due(const sched::runnable_batch& woken);

  // Of the schedule so far, with who ran last (0: somebody who cannot go on) and whether it was preempted: by that it
  // is judged what departs from running in turn.
  std::uint64_t state_at(std::int64_t now, std::uint64_t last, bool preempted) const noexcept;

 private:
  struct line {
    std::uint64_t name = 0;  // The same in all schedules: its place among the children of its creator.
    std::uint64_t last = 0;  // Step.
    std::uint64_t children = 0;
    bool has_yielded = false;  // By which its last step ended.
  };

  void advance(line& l, std::uint64_t step) noexcept;
  void depend(std::uint64_t id, std::uint64_t on, line* creator);

  std::unordered_map<std::uint64_t, line> lines_;         // By the activities' numbers.
  std::unordered_map<const void*, std::uint64_t> users_;  // The last step that touched it.
  std::vector<const void*> touched_;                      // By the step under way,
  bool has_read_the_clock_ = false;                       // which has done this, too.
  std::uint64_t last_of_all_ = 0;                         // The last step that depends on all.
  std::uint64_t state_ = 0;  // The sum over all lines, so that their order does not matter.
};

}  // namespace thrum::sim
