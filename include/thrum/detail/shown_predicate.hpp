// The predicate of whoever waits for a condition without a deadline, for those who ask whether its notification was
// forgotten. Only a simulation does (src/sim/lost_wake_ups.hpp).
#pragma once

#include <mutex>

#include <thrum/detail/thread_safety.hpp>

namespace thrum::detail {

class shown_predicate {
 public:
  // `lock` is what the waiter has given back while it waits.
  template <class Predicate, class Lock>
  shown_predicate(Predicate& done, Lock& lock) noexcept : ask_(&ask<Predicate, Lock>), done_(&done), lock_(&lock) {}

  // As a plain thread that takes the lock if it is free. False also while somebody holds it, and of a lock that cannot
  // be tried.
  bool holds() const noexcept;

 private:
  template <class Predicate, class Lock>
  static bool ask(void* predicate, void* lock) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    if constexpr (requires(Lock & l) { static_cast<bool>(l.try_lock()); }) {
      const std::unique_lock hold(*static_cast<Lock*>(lock), std::try_to_lock);
      return hold && static_cast<bool>((*static_cast<Predicate*>(predicate))());
    } else {
      return false;
    }
  }

  bool (*const ask_)(void* predicate, void* lock);
  void* const done_;
  void* const lock_;
};

}  // namespace thrum::detail
