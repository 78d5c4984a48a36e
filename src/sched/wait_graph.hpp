// Who waits for whom, and what can be proved from it.
//
// The rule: if at one instant all of a set are parked without a deadline, and each needs, to go on, what only another
// of the set can do, none of them ever runs again, but by cancellation. For it would take one of them to wake the
// first. Such sets are looked for in two steps.
//   1. Everybody is looked at, one after the other, with whom they need. A cycle in this graph is a suspicion: its
//   edges
//      are from different moments.
//   2. All members are put under inspection, at once, so that nobody can go on; each must be in the same episode as
//      before, need the next one still, and in the end be unclaimed. An episode is claimed once, so they were all
//      parked when the last inspection began. And whom they need cannot have changed unnoticed: a lock comes to
//      somebody who is parked only if that is where it waits, which is an edge to oneself, and never part of a cycle;
//      what somebody had given back before it parked is visible to who has seen it parked (begin_inspection acquires).
// Who waits, in the same way, for somebody who is stuck is stuck too, and can be looked at alone.
//
// A lock whose holder has ended is confirmed likewise: the waiter is under inspection, the lock names the holder, and
// that has ended. A control block has many tenants, so its number must be the one that was seen in step 1.
//
// Rejected: a graph that is kept up to date as activities park and wake, since every wait would pay; stopping all
// workers for the look.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <thrum/inspector.hpp>

#include "sched/activity.hpp"

namespace thrum::sched {

class wait_graph {
 public:
  // Step 1. The waits without a deadline of the scheduler's fibers and tasks, and of plain threads.
  explicit wait_graph(scheduler& home);

  // Step 2. Once.
  std::vector<finding> prove();

  // All waits of fibers and tasks that were seen, sorted by `who`, but for those that may be ended from outside the
  // process.
  struct wait {
    activity* who;
    std::uint64_t id;
    std::uint32_t episode;
    bool operator==(const wait&) const = default;
  };
  const std::vector<wait>& waits() const noexcept { return waits_; }
  // A fiber's or task's wait, if it is still the same: who, and what for.
  static bool describe_if_same(const wait& w, blocked& out);
  bool is_stuck(const wait& w) const noexcept;  // It is in one of the findings.

 private:
  struct node {
    waiter* who;
    std::uint32_t episode;
    wait_reason reason;
    std::vector<const waiter*> needs;
    enum class mark : std::uint8_t { unseen, on_path, done } seen = mark::unseen;
    std::size_t finding = none;  // The one it is in.
  };
  struct ended_holder {
    const waiter* who;
    std::uint64_t id;  // 0: a thread.
  };
  static constexpr std::size_t none = SIZE_MAX;

  void look_at(waiter& w);
  node* find(const waiter* w) noexcept;
  const node* find(const waiter* w) const noexcept { return const_cast<wait_graph*>(this)->find(w); }
  void search_from(node& start);
  void confirm_cycle(std::span<node* const> cycle);
  void find_abandoned();
  std::vector<ended_holder> holders_that_have_ended();
  void confirm_abandoned(node& n, const ended_holder& holder);
  void find_hopeless();
  void find_those_behind();
  bool confirm_alone(const node& n, blocked& out) const;
  std::size_t stuck_among(const std::vector<const waiter*>& all) const noexcept;

  scheduler& home_;
  std::vector<node> nodes_;   // Sorted by `who`.
  std::vector<node*> order_;  // Whom one needs comes first, but in cycles.
  std::vector<wait> waits_;
  std::vector<finding> findings_;
};

}  // namespace thrum::sched
