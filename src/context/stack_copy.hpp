// A copy of a running stack, taken in a signal handler and unwound later by another thread.
//
// Model. Unwinders follow absolute addresses, but the copy lies elsewhere. So whatever in it, or in the registers,
// looks like an address within the stack is moved with it; return addresses point to code and stay. What is not copied
// reads as zero, where an unwinder stops. Nothing that the interrupted code may hold a lock of is called in the
// handler, and the stack may go on changing while its copy is unwound.
//
// On aarch64 the copy is walked by frame pointers, which the procedure call standard keeps there.
//
// The idea is that of perf's --call-graph=dwarf. Rejected: unwinding in the handler, which may take locks of the
// dynamic linker that the interrupted code holds; keeping the thread in its handler meanwhile, for the same reason;
// following frame pointers, which compilers leave out on x86-64.
#pragma once

#include <cstddef>
#include <cstdint>

#include "context/unwind.hpp"

namespace thrum::context {

class stack_copy {
 public:
  stack_copy();  // Reserves address space; throws std::bad_alloc.
  ~stack_copy();
  stack_copy(const stack_copy&) = delete;
  stack_copy& operator=(const stack_copy&) = delete;

  // In the handler, with its third argument: copies what the interrupted code has on the stack that ends at `top` and
  // reaches down to `lowest`, 64 KiB at most. Async-signal-safe. Code that runs on another stack leaves its place only.
  void take(const void* ucontext, const void* lowest, const void* top) noexcept;

  // By whoever has seen to it that take() is over.
  void unwind(trace& out) const noexcept;

 private:
  static constexpr std::size_t copied_max = 64 * 1024;
  // Zeros behind the copy, larger than any frame that the end of the copy may cut.
  static constexpr std::size_t area_size = std::size_t{16} << 20;

  std::uint64_t moved(std::uint64_t word) const noexcept {
    return word - from_ < area_size && word < top_ ? word - from_ + reinterpret_cast<std::uintptr_t>(area_) : word;
  }

  std::uint64_t* area_;
  std::size_t words_ = 0;  // In use.
  std::uintptr_t from_ = 0, top_ = 0;
  bool on_another_stack_ = false;
  interrupted_registers registers_;  // On aarch64 the program counter and the frame pointer.
};

}  // namespace thrum::context
