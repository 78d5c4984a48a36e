// Looking for who is stuck, while the program runs.
//
//   thrum::inspector doctor;                              // Of the runtime whose fiber or task this is.
//   for (const auto& found : doctor.look()) log(to_string(found));
//
// A look accuses only with proof; what is merely suspicious is called a suspect. Proved are
//   deadlock    each waits for the next, and the last for the first: for a mutex or a call_once that the next one has,
//               for its end, or, in a scope's join, for a child
//   abandoned   the mutex is held by a fiber, task or thread that has ended without unlocking it
//   hopeless    nobody can end the wait, as that on a null channel
// Nobody in such a finding will ever run again, unless a wait can be cancelled, which the finding says, and is. A
// suspect is who has been in the same wait, without a deadline, for a while: since an earlier look.
//
// Not seen: what a condition variable, semaphore, channel or future waits for, since anybody might come and help; who
// shares a shared_mutex; the fibers of other runtimes. A wait with a deadline accuses nobody.
//
// None of the waiting calls does anything for it. A look visits every fiber and holds each that waits for a moment, in
// all some tenths of a microsecond a fiber: cheap enough for production, every few seconds or on a signal. It is right
// beside running fibers: the members of a cycle are held where they are, all at once, while it is confirmed.
// (docs/decisions/0021-accuse-with-proof.md)
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace thrum {

class runtime;
namespace sched {
class scheduler;
}

// Who waits, and for what.
struct blocked {
  enum class kind { fiber, task, thread };
  kind what = kind::fiber;
  std::uint64_t id = 0;               // As this_fiber::get_id(); of a thread what gettid() says.
  std::string name = {};              // Fibers have one, if they were given one.
  std::source_location where = {};    // It was spawned; unless it is a thread.
  const char* waits_for = "";         // "a mutex", as in dumps,
  const void* object = nullptr;       // which one,
  bool cancellable = false;           // and whether cancellation ends the wait.
  std::chrono::nanoseconds age = {};  // Of suspects: for so long at least it has been in this wait.
};

struct finding {
  enum class verdict { deadlock, abandoned, hopeless, suspect };
  verdict what = verdict::suspect;
  // Of a deadlock: each waits for the next, the last for the first. Of what is abandoned: who waits, and who has ended.
  // Otherwise one.
  std::vector<blocked> members = {};
  std::vector<blocked> behind = {};  // Wait for the same, for a member or for one another, and so are stuck as well.

  bool proven() const noexcept { return what != verdict::suspect; }
  // Proven, and no cancellation can end it either.
  bool for_ever() const noexcept;
};
// A headline and a line for each of them, in the words of dumps.
std::string to_string(const finding& f);

class inspector {
 public:
  // Throws std::logic_error on a thread that runs no fiber or task.
  inspector();
  explicit inspector(runtime& rt);  // The runtime must live as long.
  ~inspector();
  inspector(const inspector&) = delete;
  inspector& operator=(const inspector&) = delete;

  // What is proved, and then who has been in the same wait for `suspect_after`, the longest first. Does not suspend.
  // Any thread, one at a time. Throws std::bad_alloc.
  std::vector<finding> look(std::chrono::nanoseconds suspect_after = std::chrono::nanoseconds::max());

 private:
  struct memory;
  explicit inspector(sched::scheduler& home);

  sched::scheduler& home_;
  std::unique_ptr<memory> memory_;  // What the last look saw.
};

}  // namespace thrum
