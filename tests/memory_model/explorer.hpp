// Explores what a small concurrent program may do: every order of its threads' steps, within a bound on preemptions,
// and every message that each load may read (memory.hpp), in the manner of loom, Relacy and CDSChecker.
//
//   const auto o = explore({}, [](program& p) {         // Called for each execution: all that it uses is made anew.
//     auto s = std::make_shared<state>();
//     p.thread("writer", [s] { … });
//     p.thread("reader", [s] { … require(…, "…"); });
//     p.finally([s] { require(…, "…"); });               // After the threads have ended.
//   });
//   EXPECT_TRUE(o.passed) << o.report;
//
// Threads are contexts on one OS thread. The search is depth first, by replay: an execution is the list of its choices,
// and the next one differs in the last choice that has alternatives left. An execution fails by require(), a race on
// a plain object, the use of an atomic that has been destroyed or may have been, a deadlock (a futex on which nobody
// wakes the sleeper), or by not ending.
//
// What is too big to be exhausted is explored at random: each execution is drawn from a seed, one half as a random
// walk, the other by priorities that change at a few places (PCT; Burckhardt, Kothari, Musuvathi and Nagarakatte,
// 2010). The seed of the execution that fails is in its story, and draws the same one again.
//
// A mutation changes what the atomic operations of some function do, from outside: the sources stay as they are.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace thrum::memory_model {

enum class operation : std::uint8_t { load, store, modify, fence, membarrier, wait, wake };

struct mutation {
  enum class kind : std::uint8_t {
    weakened,  // Its order is relaxed.
    left_out,  // It does not happen. A load reads `value`.
  };
  const char* function = nullptr;  // Part of the name of the function that has the operation, as compilers write it.
  operation what = operation::load;
  kind how = kind::weakened;
  std::uint64_t value = 0;
};

struct limits {
  int preemptions = 2;        // Of a thread that could have gone on. At random: changes of priority.
  int stale_reads = 4;        // Loads that read another than the newest message.
  int late_reads = 0;         // Relaxed loads that read a message yet to come; not at random (late_reads.hpp).
  int spurious_failures = 0;  // Of weak compare-and-swaps. At random: as they come.
  long executions = 2'000'000;
  std::uint64_t seed = 0;  // Not zero: executions are drawn at random, from this seed and those that follow it.
  mutation change = {};
};

struct outcome {
  bool passed = true;
  bool exhausted = false;  // There are no other executions within the limits.
  long executions = 0;
  long mutated = 0;        // How often the mutation has changed something.
  std::uint64_t seed = 0;  // Of the execution that failed, where executions are drawn.
  std::string report;      // Of the execution that failed.
};

class program {
 public:
  void thread(const char* name, std::function<void()> body);
  void finally(std::function<void()> body);
};

outcome explore(const limits& l, const std::function<void(program&)>& set_up);

// Another thread, after all that the caller has done: its number. For stand-ins of the system's threads.
std::size_t start_thread(const char* name, std::function<void()> body);
void join_thread(std::size_t thread) noexcept;
void*& thread_local_pointer() noexcept;  // The calling thread's own; null at first.

// In the threads of an execution.
void require(bool holds, const char* what);
[[noreturn]] void fail(const std::string& why) noexcept;
std::size_t this_thread() noexcept;  // 1 for the first of them; 0 outside.
void yield() noexcept;               // Others must go on before the caller can: the body of a loop that waits.

// What the objects of atomic.hpp and the system calls are made of.
using site = std::source_location;
void created(const void* object, std::uint64_t value) noexcept;
void destroyed(const void* object) noexcept;
std::uint64_t load(const void* object, std::uint64_t plain, std::memory_order o, const site& s) noexcept;
void store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s) noexcept;
bool fails_spuriously() noexcept;  // The weak compare-and-swap that is about to be carried out.
// Of what it has read, `change` makes what it stores; false: it stores nothing, and has read with `failure`.
using changing = std::function<bool(std::uint64_t read, std::uint64_t& stored)>;
std::uint64_t modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                     std::memory_order failure, const site& s) noexcept;
void fence(std::memory_order o, const site& s) noexcept;
void membarrier(const site& s = site::current()) noexcept;
// False when it has timed out.
bool wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s = site::current()) noexcept;
void wake(const void* object, int count, const site& s = site::current()) noexcept;
void access_plain(struct plain_history& h, bool write, const site& s) noexcept;

}  // namespace thrum::memory_model
