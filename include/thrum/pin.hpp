// Keeps a fiber on its OS thread, for code that remembers the thread it runs on.
//
//   {
//     const thrum::this_fiber::pin stay;
//     foreign_state* mine = foreign_state_of_this_thread();    // The address of a thread_local.
//     requests.receive();                                      // Waits, and goes on on the same thread.
//     mine->use();
//   }
//
// While it lives, the fiber resumes on the thread that it was made on, after every wait. The price: when that thread is
// kept busy by a fiber that does not yield, others move on and the pinned fiber waits for it; and a wake-up from
// another worker has to cross threads. So pin around the code that needs it, not around whole servers.
//
// A local variable: it ends in the fiber that made it, or the process ends with one clear sentence. Pins nest; the
// outermost counts. On a plain thread it does nothing. A task cannot be pinned: throws std::logic_error there. Neither
// making nor ending it suspends; neither is a cancellation point.
//
// The idea is that of Go's runtime.LockOSThread; but the thread goes on to run other fibers while the pinned one waits.
#pragma once

namespace thrum {

namespace sched {
struct fiber_control;
}

namespace this_fiber {

class [[nodiscard]] pin {
 public:
  pin();
  ~pin();
  pin(const pin&) = delete;
  pin& operator=(const pin&) = delete;

 private:
  sched::fiber_control* fiber_ = nullptr;  // Null: within another pin, or on a plain thread.
};

}  // namespace this_fiber
}  // namespace thrum
