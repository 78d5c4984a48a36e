// The hand-off protocol: how the monitor takes a processor from a worker that is stuck in user code.
//
// Every entry into the runtime that touches the processor is bracketed by enter() and leave(). Between them `in_rt_`
// is 1 and nobody can take the processor away; outside (user code runs) the monitor may.
//
//   enter    in_rt_ = 1; compiler barrier; read retake_
//   leave    in_rt_ = 0
//   monitor  retake_: none -> asked; membarrier; if in_rt_ is set, give up (the request stays);
//            else retake_: asked -> lost, and the processor goes to another worker
//   or       lock; asked and membarrier, as above; if in_rt_ is not set, look after the processor; unlock.
//            Who enters meanwhile finds the request, and takes it back under the lock
//
// The word also says which processor is meant: one that has been passed on meanwhile is not retaken, nor mistaken for
// the one that the worker has received since.
//
// Either the worker's in_rt_ = 1 precedes the barrier and the monitor sees it, or the worker's read of retake_ follows
// the barrier and sees the request; then the compare-and-swap on retake_ decides. membarrier(2) is what lets enter()
// do without a fence; where the kernel has none, the worker fences between enter() and requested().
#pragma once

#include <cstdint>
#include <mutex>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/spinlock.hpp>

namespace thrum::sched {

// Builds that leave out one part of the protocol, to prove that tests/handoff_test.cpp notices.
namespace mutation {
#if defined(THRUM_MUTATE_NO_BUSY_FLAG)
inline constexpr bool no_busy_flag = true;
#else
inline constexpr bool no_busy_flag = false;
#endif
#if defined(THRUM_MUTATE_NO_FENCE)
inline constexpr bool no_fence = true;
#else
inline constexpr bool no_fence = false;
#endif
#if defined(THRUM_MUTATE_NO_RECHECK)
inline constexpr bool no_recheck = true;
#else
inline constexpr bool no_recheck = false;
#endif
}  // namespace mutation

// A worker's side and the monitor's. Processors are numbered from 1; 0: none.
class hand_off {
 public:
  explicit hand_off(std::uint32_t processor) noexcept : retake_(word(processor, retake::none)) {}

  // --- By the worker's thread.
  void enter() noexcept {
    if (!mutation::no_busy_flag) in_rt_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // Pairs with the fence in try_retake().
  }
  void leave() noexcept { in_rt_.store(0, std::memory_order_release); }  // Pairs with in_runtime().

  // Inside: has the monitor asked, or won already?
  bool requested() const noexcept {
    return !mutation::no_recheck && state_of(retake_.load(std::memory_order_acquire)) != retake::none;
  }
  // Anywhere; a hint.
  bool may_be_requested() const noexcept { return state_of(retake_.load(std::memory_order_relaxed)) != retake::none; }
  // Takes the request back, after a visit. False: the monitor has won.
  bool keep(std::uint32_t processor) noexcept {
    std::lock_guard no_visit(visit_);
    return change(processor, retake::asked, retake::none);
  }
  // Gives the processor away. False: the monitor does.
  bool give_away(std::uint32_t processor) noexcept {
    std::lock_guard no_visit(visit_);  // The visitor would find us outside, and the processor somebody else's.
    return change(processor, retake::none, retake::lost) || change(processor, retake::asked, retake::lost);
  }
  // While it owns nothing that could be retaken, or not yet the processor that it is about to get.
  void reset(std::uint32_t processor) noexcept {
    retake_.store(word(processor, retake::none), std::memory_order_relaxed);
  }

  // --- By the monitor. Only asks: whoever looks gives way, and nothing is taken. `fence` as below.
  template <class Fence>
  void ask(std::uint32_t processor, Fence fence) noexcept {
    if (change(processor, retake::none, retake::asked)) fence();
  }
  // True: the caller now owns the processor. `fence` is a full one in both threads.
  template <class Fence>
  bool try_retake(std::uint32_t processor, Fence fence) noexcept {
    ask(processor, fence);  // An older request needs no second barrier.
    return !in_runtime() && change(processor, retake::asked, retake::lost);
  }
  // While the worker is outside, if it is, it is kept there, and use() may touch what is the worker's inside.
  template <class Fence, class Use>
  void visit(std::uint32_t processor, Fence fence, Use use) noexcept {
    std::lock_guard held(visit_);
    ask(processor, fence);
    if (retake_.load(std::memory_order_relaxed) == word(processor, retake::asked) && !in_runtime()) use();
  }
  bool in_runtime() const noexcept { return in_rt_.load(std::memory_order_acquire) != 0; }

 private:
  // retake_: the state, in the two low bits, and the processor.
  enum class retake : std::uint32_t { none, asked, lost };
  static std::uint32_t word(std::uint32_t processor, retake state) noexcept {
    return processor << 2 | static_cast<std::uint32_t>(state);
  }
  static retake state_of(std::uint32_t word) noexcept { return static_cast<retake>(word & 3); }
  bool change(std::uint32_t processor, retake from, retake to) noexcept {
    auto expected = word(processor, from);
    return retake_.compare_exchange_strong(expected, word(processor, to), std::memory_order_acq_rel);
  }

  detail::atomic<std::uint32_t> in_rt_{1};
  detail::atomic<std::uint32_t> retake_;
  detail::spinlock visit_;
};

}  // namespace thrum::sched
