// Looking at a parked waiter: while this lives it stays where it is, though it may be claimed, and what it waits for
// may be read. Whoever was claimed meanwhile is made runnable at the end.
#pragma once

#include <utility>

#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::sched {

class inspection {
 public:
  explicit inspection(waiter& w) noexcept : who_(w.begin_inspection() ? &w : nullptr) {}
  inspection(inspection&& other) noexcept : who_(std::exchange(other.who_, nullptr)) {}
  inspection& operator=(inspection&&) = delete;
  ~inspection() {
    if (who_ && who_->end_inspection() == claim_result::resume) resume(*who_);
  }

  explicit operator bool() const noexcept {
    return who_ != nullptr;
  }  // False: it is not parked, or looked at by another.

 private:
  // Not as the next on this worker: the inspector may be anybody.
  static void resume(waiter& w) noexcept {
    if (w.kind() == waiter_kind::thread) return static_cast<thread_waiter&>(w).resume();
    auto& a = static_cast<activity&>(w);
    a.home->inject(a);
  }

  waiter* who_;
};

}  // namespace thrum::sched
