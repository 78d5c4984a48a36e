// Slabs of control blocks, of fibers or of tasks: stable addresses, recycled first-in-last-out, walkable by dumps.
//
// Creating a fiber's block also reserves the address space of a stack of the default size, so a fiber that has been
// accepted can always be started.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>
#include <vector>

#include <thrum/detail/spinlock.hpp>

#include "context/stack_pool.hpp"
#include "os/memory.hpp"
#include "sched/sizes.hpp"

namespace thrum::sched {

template <class Block>
class block_pool {
 public:
  // `stacks`: null for blocks that need none.
  block_pool(context::stack_class* stacks, std::size_t blocks_max) noexcept
      : stacks_(stacks), blocks_max_(blocks_max) {}
  ~block_pool() {
    for_each([](Block& b) { b.~Block(); });
    for (auto* chunk : chunks_) os::release(chunk, chunk_blocks * sizeof(Block));
  }
  block_pool(const block_pool&) = delete;
  block_pool& operator=(const block_pool&) = delete;

  // A chain (through `next`) of up to `count` free blocks. Null when no more can be had.
  Block* acquire(std::size_t count, std::size_t& got);
  void give_back(Block* first, Block* last, std::size_t count) noexcept {
    std::lock_guard held(lock_);
    last->next = free_;
    free_ = first;
    free_count_ += count;
  }

  // Calls visit(block) for every block, free ones included; blocks never move or vanish meanwhile.
  template <class Visit>
  void for_each(Visit visit) {
    for (std::size_t i = 0;; ++i) {
      const auto [chunk, built] = chunk_at(i);
      for (std::size_t k = 0; k < built; ++k) visit(chunk[k]);
      if (built < chunk_blocks) return;
    }
  }

  std::size_t total() const noexcept {
    std::lock_guard held(lock_);
    return built_;
  }
  std::size_t free_count() const noexcept {
    std::lock_guard held(lock_);
    return free_count_;
  }

 private:
  static constexpr std::size_t chunk_blocks = sizes::block_chunk;
  static constexpr std::size_t built_at_once = sizes::blocks_built_at_once;

  struct part {
    Block* chunk;
    std::size_t built;
  };

  bool grow();
  Block* add_chunk(std::size_t blocks);
  part chunk_at(std::size_t index) const noexcept {
    std::lock_guard held(lock_);
    const auto before = index * chunk_blocks;
    if (built_ <= before) return {nullptr, 0};
    return {chunks_[index], std::min(built_ - before, chunk_blocks)};
  }

  // Constant after construction.
  context::stack_class* const stacks_;
  const std::size_t blocks_max_;

  // Guarded by lock_.
  mutable detail::spinlock lock_;
  std::vector<Block*> chunks_;
  std::size_t built_ = 0;  // Blocks that have been constructed: of the last chunk maybe not all.
  Block* free_ = nullptr;
  std::size_t free_count_ = 0;

  detail::spinlock growth_lock_;
};

template <class Block>
Block* block_pool<Block>::acquire(std::size_t count, std::size_t& got) {
  for (;;) {
    {
      std::lock_guard held(lock_);
      Block* first = free_;
      Block* last = nullptr;
      for (got = 0; got < count && free_; ++got) {
        last = free_;
        free_ = static_cast<Block*>(free_->next);
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

template <class Block>
bool block_pool<Block>::grow() {
  std::lock_guard growing(growth_lock_);
  Block* chunk;
  std::size_t built;
  {
    std::lock_guard held(lock_);
    if (free_) return true;  // Somebody else was faster.
    built = built_;
    chunk = built < chunks_.size() * chunk_blocks ? chunks_.back() : nullptr;
  }
  if (built >= blocks_max_) return false;
  if (!chunk && !(chunk = add_chunk(built + chunk_blocks))) return false;
  Block* const first = chunk + built % chunk_blocks;
  for (std::size_t i = 0; i < built_at_once; ++i) {
    new (&first[i]) Block;
    first[i].next = i + 1 < built_at_once ? &first[i + 1] : nullptr;
  }
  std::lock_guard held(lock_);
  built_ += built_at_once;
  first[built_at_once - 1].next = free_;
  free_ = first;
  free_count_ += built_at_once;
  return true;
}

// Of which there are then so many. Null when no more can be had.
template <class Block>
Block* block_pool<Block>::add_chunk(std::size_t blocks) {
  if (stacks_ && !stacks_->ensure_capacity(blocks)) return nullptr;
  {
    std::lock_guard held(lock_);
    chunks_.reserve(chunks_.size() + 1);
  }
  auto* chunk = static_cast<Block*>(os::reserve(chunk_blocks * sizeof(Block)));
  if (!chunk) return nullptr;
  std::lock_guard held(lock_);
  chunks_.push_back(chunk);
  return chunk;
}

// A processor's own free blocks. Blocks move between cache and pool in batches.
template <class Block>
class block_cache {
 public:
  static constexpr std::size_t batch = 64, blocks_max = 256;

  // Null when there is none: then refill.
  Block* take() noexcept {
    Block* b = first_;
    if (!b) [[unlikely]]
      return nullptr;
    first_ = static_cast<Block*>(b->next);
    --count_;
    return b;
  }
  // False when there are so many now that a batch is to go.
  bool put(Block& b) noexcept {
    b.next = first_;
    first_ = &b;
    return ++count_ <= blocks_max;
  }

  void refill(block_pool<Block>& pool) { first_ = pool.acquire(batch, count_); }
  void spill(block_pool<Block>& pool) noexcept {
    Block* first = first_;
    Block* last = first;
    for (std::size_t i = 1; i < batch; ++i) last = static_cast<Block*>(last->next);
    first_ = static_cast<Block*>(last->next);
    count_ -= batch;
    pool.give_back(first, last, batch);
  }

 private:
  Block* first_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace thrum::sched
