// How a fiber ends: running its closure, keeping or reporting its exception, waking who joins it.
#pragma once

#include "sched/fiber_control.hpp"
#include "sched/task_control.hpp"

namespace thrum::sched {

// Runs f's closure on f's own stack, outside the runtime. Not noexcept, though it never throws: an
// exception that nobody can receive finds no handler, so that std::terminate is called where it was thrown and the
// report shows that stack.
void run_closure(fiber_control& f);

// The end. The fiber, still on its stack and inside the runtime, announces it, and gets who waits in join(), nullptr,
// or nobody_will_join(). From then on the joiner stays: it goes on only when the end is published. A joiner that can be
// switched to directly is claimed instead (lifecycle.hpp). A task's end is announced by its worker.
waiter* announce_end(fiber_control& f) noexcept;
waiter* announce_end(task_control& t, const std::exception_ptr* failure) noexcept;
waiter* announce_end(activity& a) noexcept;
// Then whoever runs next on the thread publishes it, from which on the block belongs to the handle, and resumes the
// joiner. False: nobody will join, and the block is to be freed.
bool publish_end_to(activity& a, waiter* joiner) noexcept;
[[gnu::always_inline]] inline bool publish_end(activity& a, waiter* joiner) noexcept {
  if (joiner) return publish_end_to(a, joiner);
  a.joiner.store(activity::ended(), std::memory_order_release);  // Publishes the result and all of the block.
  return true;
}

// Waits until it has completed. False when the deadline passed first; throws cancelled unless shielded.
bool join(activity& a, std::int64_t deadline_ns, bool shielded);

// The same in steps, for tasks. begin_join(): false when it is about to end, and end_join() can be called at once with
// first_clause. end_join(): false when it has not ended, but the deadline or cancellation has claimed the caller.
bool has_ended(const activity& a) noexcept;
bool begin_join(activity& a, waiter& self, std::uint64_t episode) noexcept;
bool end_join(activity& a, waiter& self, claim_code code) noexcept;
wait_reason join_reason(const activity& a) noexcept;

// Nobody will join it: from now on an exception of it ends the process. False: it has already ended, and the block
// still belongs to the handle.
bool detach(activity& a) noexcept;
// The same, but an exception of it is forgotten.
bool drop(activity& a) noexcept;

}  // namespace thrum::sched
