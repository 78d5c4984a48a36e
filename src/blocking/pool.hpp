// The pool: OS threads that make the calls which would block a worker.
//
// Model. A call is an entry of the queue, which lies with its caller. A thread takes the first, runs it, and tells the
// caller. Whoever queues a call wakes an idle thread, or starts one where none is idle and the maximum allows; threads
// that become free look at the queue before they go idle. Idle threads are woken last in, first out, so that those
// which are not needed reach the end of their patience.
//
// Invariant: while a call is queued, a thread is on its way to the queue or all threads are busy.
//
// There is one pool for the process (and one more, see the_waiting_pool()), since the kernel's threads and disks are
// the process's, and constant-initialised without a destructor, since callers may live as long as they like. A caller
// waits for the end of its call; so when the last scheduler has gone none is left, and the threads end. Each thread
// that ends joins the one that ended before it, and the last scheduler's end joins the last of them: no thread is left
// behind. Pools that the program makes differ in that their threads end when the pool does, which nobody uses any more
// then.
//
// The threads count as inert in the proof of deadlocks (docs/decisions/0012): idle ones wake nobody, and while one is
// busy its caller waits for something external.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pthread.h>

#include <thrum/blocking.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum::detail {

class offload_pool {
 public:
  constexpr offload_pool() noexcept = default;  // The process's.
  constexpr offload_pool(std::string_view name, std::size_t threads_max, std::size_t queue_max,
                         bool is_process_s = false) noexcept
      : queue_max_(queue_max), is_process_s_(is_process_s), threads_max_(std::max<std::size_t>(threads_max, 1)) {
    const auto length = std::min(name.size(), name_max);
    std::copy_n(name.data(), length, name_);
    name_[length] = '\0';
  }

  bool submit(offloaded& call) noexcept;             // False: the queue has no room.
  bool submit_to_threads(offloaded& call) noexcept;  // The same, and not to the ring.
  bool withdraw(offloaded& call) noexcept;           // True: it was queued, and never runs.
  void set_threads_max(std::size_t threads) noexcept;
  blocking_statistics statistics() noexcept;
  void end_threads() noexcept;  // When nobody is left who could submit.
  bool in_use() noexcept;       // A call is queued or runs.

 private:
  struct predecessor {
    pthread_t thread{};
    bool any = false;
  };

  static void* thread_main(void* pool) noexcept;
  offloaded* next(predecessor& before) noexcept;
  offloaded* take_first() noexcept;
  void unlink(offloaded& call) noexcept;
  bool must_refuse() const noexcept;
  void retire(predecessor& before) noexcept;
  void run(offloaded& call) noexcept;
  void start_thread() noexcept;
  void thread_has_not_started() noexcept;
  bool is_surplus() const noexcept { return threads_ > threads_max_; }

  // Constant after construction.
  static constexpr std::size_t name_max = 15;
  char name_[name_max + 1] = "thrum-blocking";
  const std::size_t queue_max_ = std::size_t(-1);
  const bool is_process_s_ = true;

  wait_queue idle_;  // Its lock guards everything here.
  offloaded* first_ = nullptr;
  offloaded* last_ = nullptr;
  std::size_t queued_ = 0;
  std::size_t threads_ = 0;  // Alive, or being started.
  std::size_t threads_max_ = 64;
  std::size_t running_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t withdrawn_ = 0;
  std::uint64_t refused_ = 0;
  bool ending_ = false;            // Until the next call comes, threads end when they become idle.
  predecessor ended_;              // The thread that ended last, to be joined.
  atomic<std::uint32_t> ends_{0};  // Futex: how many threads have ended.
};

// The caller may return, and take the call with it, as soon as it is told.
void finish(offloaded& call) noexcept;

// Has the threads of the process's pools and its ring end when nobody can bring calls any more.
void end_threads_with_the_last_runtime() noexcept;

}  // namespace thrum::detail
