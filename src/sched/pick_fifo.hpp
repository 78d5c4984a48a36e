// The default pick policy: the LIFO slot, for at most 32 turns in a row, then the queue.
#pragma once

#include "sched/processor.hpp"

namespace thrum::sched {

class pick_fifo final : public pick_policy {
 public:
  static constexpr unsigned lifo_turns_max = 32;

  // Counts as a turn of the LIFO slot.
  static bool may_jump_the_queue(processor& p) noexcept {
    return p.lifo_streak < lifo_turns_max && ++p.lifo_streak != 0;
  }

  [[gnu::always_inline]] inline fiber_control* pick(processor& p) noexcept override {
    if (p.lifo_streak < lifo_turns_max) {
      if (auto* f = p.take_lifo()) {
        ++p.lifo_streak;
        return f;
      }
    }
    p.lifo_streak = 0;
    if (auto* f = p.queue.pop()) return f;
    return p.take_lifo();
  }
};

}  // namespace thrum::sched
