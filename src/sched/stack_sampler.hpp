// Where does a fiber compute, right now? Interrupts its thread by a signal, once; see thrum/stall.hpp for what users
// see.
//
// One request at a time. The word numbers it, so that a signal that comes late, when its request was withdrawn, finds
// nothing to do:
//
//   ask        free, copied, refused -> asked, then the signal is sent    the monitor
//   on_signal  asked -> copying -> copied, or refused                     the handler, in the worker's thread
//   look       copied, refused -> free                                    the monitor
//   withdraw   asked -> free                                              the monitor
//
// The handler refuses inside the runtime, where stacks are switched, and when another activity runs than was meant.
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

#include "context/stack_copy.hpp"

namespace thrum::sched {

class worker;

class stack_sampler {
 public:
  stack_sampler();  // Installs the handler, if it is the first. Throws std::bad_alloc; std::system_error: no signal.
  ~stack_sampler();
  stack_sampler(const stack_sampler&) = delete;
  stack_sampler& operator=(const stack_sampler&) = delete;

  // By each worker's thread: lets the signal in.
  static void let_signal_in() noexcept;

  // --- By the monitor.
  enum class answer { none_yet, taken, refused };
  bool ask(worker& w, std::uint64_t activity) noexcept;  // False: another request is under way.
  answer look(context::trace& out) noexcept;
  void withdraw() noexcept;

  // --- In the handler.
  void on_signal(worker& here, const void* ucontext) noexcept;

 private:
  enum class state : std::uint64_t { free, asked, copying, copied, refused };
  static constexpr std::uint64_t state_bits = 3;
  static state state_of(std::uint64_t word) noexcept { return static_cast<state>(word & ((1u << state_bits) - 1)); }
  static std::uint64_t with(std::uint64_t word, state s) noexcept {
    return (word >> state_bits << state_bits) | static_cast<std::uint64_t>(s);
  }
  bool copy_stack_of(worker& here, const void* ucontext) noexcept;

  bool awaited_ = false;                          // The monitor's: somebody wants the answer.
  detail::atomic<std::uint64_t> word_{0};         // The request's number, and the state in the low bits.
  detail::atomic<const worker*> whose_{nullptr};  // Published by `asked`,
  detail::atomic<std::uint64_t> activity_{0};     // as is this.
  context::stack_copy copy_;                      // The handler's while copying, then the monitor's.
};

}  // namespace thrum::sched
