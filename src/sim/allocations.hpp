// Which allocations are the simulated program's: those on its thread while it runs, but for the simulation's own.
#pragma once

namespace thrum::sim {

class world;

bool allocations_are_counted() noexcept;

// While one of these exists: the program of that world runs.
class watched_allocations {
 public:
  explicit watched_allocations(world& w) noexcept;
  ~watched_allocations();
  watched_allocations(const watched_allocations&) = delete;
  watched_allocations& operator=(const watched_allocations&) = delete;
};

// In what the world does for the program, on its thread.
class own_allocations {
 public:
  own_allocations() noexcept;
  ~own_allocations();
  own_allocations(const own_allocations&) = delete;
  own_allocations& operator=(const own_allocations&) = delete;
};

}  // namespace thrum::sim
