// A runtime inside a program whose outside is not the real one: it shares the scheduler of its host (seams.hpp).
//
// Its fibers and tasks are those that it starts, those that they start, and so on. Each carries the guest that it
// belongs to in its locals (locals.cpp): the scheduler knows nothing of guests, and programs without pay nothing. At
// its end they are cancelled, and those that they still start, and waited for.
//
// Thread safety: none is needed, a host has one worker. Used by another thread, or when its host has gone, a guest ends
// the process with one sentence.
#pragma once

#include <cstddef>
#include <cstdint>

#include <thrum/detail/wait_queue.hpp>
#include <thrum/runtime.hpp>

#include "sched/scheduler.hpp"

namespace thrum::detail {

class guest {
 public:
  // The caller is one of the host's fibers. Throws std::invalid_argument when the host's stacks are too small.
  guest(sched::scheduler& host, const runtime_options& o);

  sched::scheduler& host() const noexcept;
  std::size_t fibers() const noexcept { return members_; }

  // By locals.cpp: somebody is created who belongs to it, or has come to the end of all its user code.
  void admit(sched::activity& a);  // Throws std::system_error when there are fibers_max.
  void leave() noexcept;
  bool is_guest_of(const sched::scheduler& home) const noexcept { return &host_ == &home; }

  // Waits, shielded from cancellation, in a fiber; fails the program after the grace period.
  void end() noexcept;

 private:
  sched::scheduler& host_;
  const std::uint64_t host_serial_;  // Another scheduler may come to lie where the host was.
  const std::size_t fibers_max_;
  const std::chrono::nanoseconds grace_;

  std::size_t members_ = 0;
  bool ending_ = false;
  wait_queue empty_;
};

}  // namespace thrum::detail
