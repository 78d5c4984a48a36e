// Which locks of threads fibers and tasks hold: a table by address.
//
// Model. An entry says which activity has locked which lock on which worker, and where. Entries are made and removed by
// the interposed functions (interpose.cpp), on behalf of activities alone: what plain threads lock is none of our
// business. Three things must not happen, and each ends the process:
//
//   an activity that is not pinned suspends, or ends, with an entry            builds with assertions, at every switch
//   it locks or unlocks on another worker than that of one of its entries      it has been moved
//   it wants a lock that another activity has locked on the very same worker   that one is suspended: the thread would
//                                                                              wait for itself, or get in twice
//
// Thread safety: each shard has a spinlock. Memory: the table is fixed, since an allocator may lock, too; locks for
// which there is no room go unchecked.
#pragma once

#include <cstddef>

#include <thrum/detail/spinlock.hpp>

namespace thrum::sched {
class worker;
struct activity;
}  // namespace thrum::sched

namespace thrum::lock_check {

class held_locks {
 public:
  constexpr held_locks() noexcept = default;

  // Around the functions that lock and unlock; by any thread.
  void about_to_lock(const void* lock) noexcept;
  void has_locked(const void* lock) noexcept;
  void about_to_unlock(const void* lock) noexcept;

  // The activity that runs here is being left.
  void suspends(const sched::activity& who, bool ends) noexcept;

 private:
  static constexpr std::size_t frames_max = 8;
  struct entry {
    const void* lock;
    const sched::activity* by;
    const sched::worker* on;
    int times;  // Recursive locks.
    std::size_t frame_count;
    void* frames[frames_max];
  };
  struct shard {
    static constexpr std::size_t room = 64;
    detail::spinlock guard;
    std::size_t used = 0;
    entry entries[room] = {};

    entry* find(const void* lock, const sched::activity* by) noexcept;
    void remove(entry& e) noexcept { e = entries[--used]; }
  };
  static constexpr std::size_t shard_count = 64;

  shard& shard_of(const void* lock) noexcept;
  static void remember_place(entry& e) noexcept;
  [[noreturn]] static void accuse(const entry& e, const char* of_what) noexcept;

  shard shards_[shard_count];
};

}  // namespace thrum::lock_check
