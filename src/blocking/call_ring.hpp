// Offloaded calls that the kernel makes by itself: io_uring in place of the pool's threads, one of which each call
// would occupy while it waits for a disk.
//
// Model. A call that is one operation of the kernel after the other (ring_request) comes here instead of the pool.
// There is one ring for the process and one thread, which opens the ring, alone submits to it and alone waits for it:
// the kernel works in the name of who submits, and interrupts his system calls for that, which workers could not have
// (docs/internals/io.md, "Who is interrupted"). Whoever brings a call wakes that thread if it sleeps; meanwhile others
// may bring theirs, and all go to the kernel in one system call. No more than 1,024 are there at a time, so that each
// finds room for its completion; the others wait their turn and may be withdrawn.
//
// The thread is started by the first call, and ends with the last runtime, as the pool's do. When it finds that it
// cannot have a ring, the calls that have come go to the pool, and so do all later ones.
//
// Only operations at an offset come here, and syncs: the kernel does not guard a file's position for io_uring as it
// does for write(2), so two that write at the position could write to the same place.
//
// Thread safety: `lock_` guards everything but what only the thread uses.
#pragma once

#include <cstddef>
#include <cstdint>

#include <pthread.h>

#include <thrum/blocking.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/spinlock.hpp>

namespace thrum::detail {

struct ring_operation {
  enum class kind { read, write, sync, data_sync };

  kind what;
  int fd;
  void* data = nullptr;  // To read into, or to write from.
  std::size_t size = 0;
  std::uint64_t at = 0;
};

// An offloaded call as operations. Lies beside the call.
struct ring_request {
  // Is told what came of the operation: how much, or a negative errno value. True: there is another one now, which is
  // to follow.
  bool (*const settle)(ring_request&, int result) noexcept;
  offloaded& call;
  ring_operation operation;
  bool was_made = false;  // Here, and not by a thread of the pool. Published by the end of the call.

  // The ring's.
  ring_request* before = nullptr;
  ring_request* behind = nullptr;
  bool queued = false;
};

struct ring_choice {
  bool is_ring;
  const char* reason;  // Lives for ever.
};

class call_ring {
 public:
  bool submit(ring_request& r) noexcept;    // False: there is no ring, the pool is to make the call.
  bool withdraw(ring_request& r) noexcept;  // True: the kernel has not got it, and never will.
  void add_to(blocking_statistics& s) noexcept;
  void end_thread() noexcept;  // When nobody is left who could submit.
  ring_choice choice() noexcept;

 private:
  class kernel_side;
  enum class state { untried, running, ended, impossible };
  struct thread {
    pthread_t id{};
    bool any = false;
  };

  static void* thread_main(void* self) noexcept;
  void run() noexcept;
  void give_up(state s, const char* why) noexcept;
  void retire(state s, const char* why, thread& predecessor) noexcept;
  bool take_up(kernel_side& k, thread& predecessor) noexcept;
  void hand_back(kernel_side& k) noexcept;
  ring_request* take_first() noexcept;
  void unlink(ring_request& r) noexcept;
  void wake() noexcept;

  spinlock lock_;
  state state_ = state::untried;
  const char* reason_ = "no call has needed it yet";
  ring_request* first_ = nullptr;
  ring_request* last_ = nullptr;
  bool asleep_ = false;  // The thread is, or is about to be; whoever takes this back wakes it.
  bool ending_ = false;  // Until the next call comes, the thread ends when it has nothing to do.
  std::size_t queued_ = 0;
  std::size_t running_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t withdrawn_ = 0;
  thread ended_;                   // The one that ended last, to be joined, by its successor or in the end.
  atomic<std::uint32_t> ends_{0};  // Futex: how many have ended.
  int wake_fd_ = -1;               // What wakes it: an eventfd, which the ring reads. Written before `asleep_`.
};

call_ring& the_call_ring() noexcept;

}  // namespace thrum::detail
