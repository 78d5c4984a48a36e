// Which objects a step of a simulated program is about.
//
// A search through all schedules (sim.hpp, strategy::exhaustive) need not try both orders of two steps that have
// nothing in common. So each operation on an object that activities share says that it touches it: by taking the
// object's lock (object_lock.hpp), or by calling touch() where it goes without. Outside of such a search nobody
// listens, and that is one test of a pointer.
#pragma once

#include <atomic>

namespace thrum::detail {

// Touched by whoever reads the time in order to depend on it.
inline constexpr char the_clock = 0;

class touch_listener {
 public:
  virtual void touched(const void* object) noexcept = 0;

 protected:
  ~touch_listener() = default;
};

// Null, or a search. Set while no other thread uses objects of ours. Not detail::atomic: nothing is synchronised by it.
extern constinit std::atomic<touch_listener*> listens_to_touches;

inline void touch(const void* object) noexcept {
  if (auto* l = listens_to_touches.load(std::memory_order_relaxed)) [[unlikely]]
    l->touched(object);
}
// What happens to it depends on when.
inline void touch_in_time(const void* object) noexcept {
  touch(object);
  touch(&the_clock);
}

}  // namespace thrum::detail
