// Slab growth, and the global free list in front of which processors keep caches.
#include "sched/fiber_pool.hpp"

#include <mutex>
#include <new>

#include "os/memory.hpp"

namespace thrum::sched {

fiber_pool::~fiber_pool() {
  for (auto* chunk : chunks_) {
    for (std::size_t i = 0; i < chunk_blocks; ++i) chunk[i].~fiber_control();
    os::release(chunk, chunk_blocks * sizeof(fiber_control));
  }
}

fiber_control* fiber_pool::acquire(std::size_t count, std::size_t& got) {
  for (;;) {
    {
      std::lock_guard held(lock_);
      fiber_control* first = free_;
      fiber_control* last = nullptr;
      for (got = 0; got < count && free_; ++got) {
        last = free_;
        free_ = free_->next;
      }
      free_count_ -= got;
      if (got > 0) {
        last->next = nullptr;
        return first;
      }
    }
    if (!grow()) return nullptr;
  }
}

void fiber_pool::give_back(fiber_control* first, fiber_control* last, std::size_t count) noexcept {
  std::lock_guard held(lock_);
  last->next = free_;
  free_ = first;
  free_count_ += count;
}

bool fiber_pool::grow() {
  std::lock_guard growing(growth_lock_);
  std::size_t blocks;
  {
    std::lock_guard held(lock_);
    if (free_) return true;  // Somebody else was faster.
    blocks = chunks_.size() * chunk_blocks;
  }
  if (blocks >= fibers_max_ || !stacks_.ensure_capacity(blocks + chunk_blocks)) return false;
  auto* chunk = static_cast<fiber_control*>(os::reserve(chunk_blocks * sizeof(fiber_control)));
  if (!chunk) return false;
  for (std::size_t i = 0; i < chunk_blocks; ++i) {
    new (&chunk[i]) fiber_control;
    chunk[i].next = i + 1 < chunk_blocks ? &chunk[i + 1] : nullptr;
  }
  std::lock_guard held(lock_);
  chunks_.push_back(chunk);
  chunk[chunk_blocks - 1].next = free_;
  free_ = chunk;
  free_count_ += chunk_blocks;
  return true;
}

fiber_control* fiber_pool::chunk_at(std::size_t index) const noexcept {
  std::lock_guard held(lock_);
  return index < chunks_.size() ? chunks_[index] : nullptr;
}

std::size_t fiber_pool::total() const noexcept {
  std::lock_guard held(lock_);
  return chunks_.size() * chunk_blocks;
}

std::size_t fiber_pool::free_count() const noexcept {
  std::lock_guard held(lock_);
  return free_count_;
}

}  // namespace thrum::sched
