// The simulated world: what the scheduler receives instead of the real clock, random source, pick policy and poller.
//
// One worker thread runs everything. The world keeps all that is runnable and decides, each time the worker asks, who
// runs next; a decision takes a little virtual time. When nothing is runnable the scheduler waits in its poller, and
// that wait ends at once: at the time of the next timer, or of the next thing that the network delivers. Without
// either, and with the program still running, it is a deadlock, since there is no outside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <vector>

#include <thrum/detail/atomic.hpp>

#include "base/rng.hpp"
#include "sched/scheduler.hpp"
#include "sched/seams.hpp"
#include "sim/causality.hpp"
#include "sim/chooser.hpp"
#include "sim/disks.hpp"
#include "sim/lost_wake_ups.hpp"
#include "sim/network.hpp"
#include "sim/schedule.hpp"

namespace thrum::sim {

inline constexpr int failure_status = 2;

inline constexpr std::size_t nobody = SIZE_MAX;

struct decision {
  std::size_t choice;
  std::size_t candidates;
  // Of a search through all schedules:
  std::uint64_t state;     // Before it; see causality.hpp.
  std::size_t last;        // The candidate who ran last; or nobody.
  bool last_is_preempted;  // It could go on; else it has given way by itself.
};

// Told of each decision, before it takes effect: it may be the last.
class recorder {
 public:
  virtual ~recorder() = default;
  virtual void decided(const decision& d) noexcept = 0;
};

class world final : public sched::seams,
                    public sched::clock_source,
                    public sched::pick_policy,
                    public sched::runtime_host {
 public:
  world(const schedule& s, const census& known, recorder* r, bool tells);

  // Between these two the program runs, and nothing to do is a deadlock. On the main fiber.
  void begin(sched::scheduler& home);
  void end() noexcept;

  trace so_far() const noexcept;
  census counted() const { return chooser_->counted(); }
  // Reports the sentence and every fiber, with the line that replays it, and ends the process.
  [[noreturn]] void fail(const char* what) noexcept override;
  // The same, of a call by the program that nothing simulates.
  [[noreturn]] void escaped(const char* function, const char* advice) noexcept;
  void call_outside(void (*call)(void* argument) noexcept, void* argument) noexcept override;
  // The program runs, and has not offloaded what it does now.
  bool program_is_inside() const noexcept;

  // --- What the scheduler sees.
  sched::clock_source& clock() override { return *this; }
  std::unique_ptr<sched::random_source> make_random(unsigned index) override;
  sched::pick_policy* policy() override { return this; }
  sched::socket_system* sockets() override { return &network_; }
  sched::file_system* files() override { return &disks_; }
  sched::runtime_host* host() override { return this; }
  std::unique_ptr<sched::poller> make_poller() override;

  std::int64_t now_ns() noexcept override { return now_.load(std::memory_order_relaxed); }
  bool runs_on(const sched::scheduler& s) const noexcept { return &s == home_; }
  // An allocation by the program.
  bool allocation_fails() noexcept {
    return ++allocations_ == plan_.chosen.goes_wrong_at && plan_.chosen.goes_wrong == fault::allocation;
  }

  sched::activity* pick(const sched::runnable_batch& found) noexcept override;
  bool preempts(sched::activity& caller) noexcept override;
  bool refuses_another() noexcept override {
    return home_ && ++starts_ == plan_.chosen.goes_wrong_at && plan_.chosen.goes_wrong == fault::start;
  }

 private:
  class waiting_room;
  struct outside_call {
    const sched::activity* who;
    outside_call* next;
  };

  void warn_of_threads() const noexcept;
  [[noreturn]] void give_up() noexcept;
  void look_whether_the_last_is_stuck() noexcept;
  void look_for_lost_wake_ups(std::int64_t next_ns) noexcept;
  bool look_is_due(std::int64_t next_ns) noexcept;
  void let_time_pass() noexcept;
  void put_preempted_in_its_place() noexcept;
  void end_step(const sched::runnable_batch& woken) noexcept;
  bool has_yielded(const sched::runnable_batch& woken) const noexcept;
  std::size_t decide() noexcept;
  decision situation(std::size_t choice) noexcept;
  void tell(const sched::activity& next) noexcept;
  void tell_of_the_last(const sched::activity& last) noexcept;

  const schedule plan_;
  recorder* const recorder_;
  const bool tells_;
  const std::unique_ptr<chooser> chooser_;
  std::optional<causality> causality_;  // Of a search through all schedules.
  base::rng stalls_;
  detail::atomic<std::int64_t> now_;
  hosts hosts_;
  disks disks_;
  network network_;

  // The worker's thread's.
  sched::scheduler* home_ = nullptr;  // Null unless the program runs.
  int threads_ = 0;                   // Of the process, when it began.
  outside_call* outside_ = nullptr;   // Those that are under way: they may wait, too.
  lost_wake_ups lost_;
  std::size_t jumps_ = 0;  // Of the clock, since wake-ups were looked for.
  std::vector<sched::activity*> runnable_;
  const sched::activity* preempted_ = nullptr;  // It could go on.
  const sched::activity* last_ = nullptr;
  std::uint64_t last_id_ = 0;
  bool step_is_under_way_ = false;  // That of the last one.
  bool last_is_preempted_ = false;  // At this decision.
  std::size_t in_a_row_ = 0;        // Times that `last_` was chosen although others could run.
  std::uint64_t calls_ = 0;
  std::uint64_t allocations_ = 0;
  std::uint64_t starts_ = 0;
  std::uint64_t picks_ = 0;
  std::uint64_t decisions_ = 0;
  std::uint64_t fingerprint_ = 0;
};

struct simulation {
  const std::function<void()>& program;
  std::source_location where;
  recorder* told = nullptr;
  bool tells = false;         // The story, on standard error.
  census* counted = nullptr;  // For the strategy `uniform`: of the schedule before, and then of this one.
};
// Runs the program in a world of its own. What it throws is rethrown; other failures end the process: world::fail().
trace run_in_world(const schedule& s, const simulation& what);

}  // namespace thrum::sim
