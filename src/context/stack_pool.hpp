// Stacks: reserved address space, memory page by page, a guard page below each, hot ones reused first.
//
// Model. A size class (a power of two) reserves address space in regions of many stacks; a stack's memory appears as
// it is touched. The lowest page of every stack is a guard. Guards are installed in batches when stacks are first
// carved from a region: without a mapping each where the kernel can (MADV_GUARD_INSTALL, Linux 6.13), by mprotect up
// to half of vm.max_map_count otherwise, and beyond that not at all: such a stack is marked `unguarded`, is checked
// with a canary at every switch (its lowest word must still be zero), and one warning is printed.
//
// Freed stacks keep their memory in a warm list; trim() gives back what exceeds a limit and what lies deep in the
// rest. Workers keep small caches of their own in front (sched/processor.hpp).
//
// Thread safety: all members may be called by any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <thrum/detail/spinlock.hpp>

#include "os/memory.hpp"

namespace thrum::context {

// A stack's lowest address, with a mark in bit 0 when it has no guard page. Null: no stack.
class stack_ref {
 public:
  constexpr stack_ref() noexcept = default;
  stack_ref(char* base, bool guarded) noexcept : bits_(reinterpret_cast<std::uintptr_t>(base) | (guarded ? 0u : 1u)) {}

  char* base() const noexcept { return reinterpret_cast<char*>(bits_ & ~std::uintptr_t{1}); }
  bool guarded() const noexcept { return (bits_ & 1) == 0; }
  explicit operator bool() const noexcept { return bits_ != 0; }

  // For stacks without a guard page: false once something has been written to the lowest word.
  bool canary_intact() const noexcept { return *reinterpret_cast<const volatile std::uint64_t*>(base()) == 0; }

 private:
  std::uintptr_t bits_ = 0;
};

// How guards are made; the automatic choice can be overridden for tests.
enum class guard_mode { automatic, mapping_free, protect, none };

class stack_class {
 public:
  stack_class(std::size_t stack_size, guard_mode mode) noexcept;
  ~stack_class();
  stack_class(const stack_class&) = delete;
  stack_class& operator=(const stack_class&) = delete;

  std::size_t stack_size() const noexcept { return stack_size_; }

  // Makes sure that `count` stacks can be held at once. False when the address space is exhausted.
  bool ensure_capacity(std::size_t count);

  // Fills `out` with stacks, warm ones first. Returns how many: fewer only when the reserved capacity is used up.
  std::size_t acquire(std::span<stack_ref> out);
  void give_back(std::span<const stack_ref> stacks);

  // Returns memory to the system: of all but `keep_warm` stacks everything, of the others what lies deep.
  void trim(std::size_t keep_warm);

  std::size_t warm_count() const noexcept;
  std::size_t capacity() const noexcept;
  std::size_t unguarded_count() const noexcept { return unguarded_.load(std::memory_order_relaxed); }

 private:
  struct region {
    char* base;
    std::size_t count;
    std::size_t carved;  // Stacks handed out at least once; all of them have been through guard installation.
  };

  std::size_t carve(std::span<stack_ref> out);
  void guard_batch(char* first, std::span<stack_ref> out);
  void discard_runs(std::vector<stack_ref>& stacks);

  // Constant after construction.
  const std::size_t stack_size_;
  const guard_mode mode_;

  // Own synchronisation.
  std::atomic<std::size_t> unguarded_{0};
  mutable detail::spinlock lock_;
  detail::spinlock growth_lock_;  // Serialises mmap and trimming; never taken under lock_.

  // Guarded by lock_.
  std::vector<region> regions_;
  std::vector<stack_ref> warm_;  // Last in, first out: the most recently used stacks are the hottest.
  std::vector<stack_ref> cold_;  // Their memory has been given back.
  std::size_t capacity_ = 0;
};

}  // namespace thrum::context
