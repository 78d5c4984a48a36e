// Slabs of fiber control blocks: stable addresses, recycled first-in-last-out, walkable by dumps.
//
// Creating a control block also reserves the address space of a stack of the default size, so a fiber that has been
// accepted can always be started.
#pragma once

#include <cstddef>
#include <vector>

#include <thrum/detail/spinlock.hpp>

#include "context/stack_pool.hpp"
#include "sched/fiber_control.hpp"

namespace thrum::sched {

class fiber_pool {
 public:
  explicit fiber_pool(context::stack_class& stacks, std::size_t fibers_max) noexcept
      : stacks_(stacks), fibers_max_(fibers_max) {}
  ~fiber_pool();
  fiber_pool(const fiber_pool&) = delete;
  fiber_pool& operator=(const fiber_pool&) = delete;

  // A chain (through `next`) of up to `count` free blocks. Null when no more can be had.
  fiber_control* acquire(std::size_t count, std::size_t& got);
  void give_back(fiber_control* first, fiber_control* last, std::size_t count) noexcept;

  // Calls visit(f) for every block, free ones included; blocks never move or vanish meanwhile.
  template <class Visit>
  void for_each(Visit visit) {
    for (std::size_t i = 0;; ++i) {
      fiber_control* chunk = chunk_at(i);
      if (!chunk) return;
      for (std::size_t k = 0; k < chunk_blocks; ++k) visit(chunk[k]);
    }
  }

  std::size_t total() const noexcept;
  std::size_t free_count() const noexcept;

 private:
  static constexpr std::size_t chunk_blocks = 128;

  bool grow();
  fiber_control* chunk_at(std::size_t index) const noexcept;

  // Constant after construction.
  context::stack_class& stacks_;
  const std::size_t fibers_max_;

  // Guarded by lock_.
  mutable detail::spinlock lock_;
  std::vector<fiber_control*> chunks_;
  fiber_control* free_ = nullptr;
  std::size_t free_count_ = 0;

  detail::spinlock growth_lock_;
};

}  // namespace thrum::sched
