// Who runs next, what time it is, and the end of a program that cannot go on.
#include "sim/world.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <utility>

#include <unistd.h>

#include <thrum/fiber.hpp>
#include <thrum/scope.hpp>

#include "context/unwind.hpp"
#include "os/futex.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "sched/cancel.hpp"
#include "sched/diagnose.hpp"
#include "sched/wait_graph.hpp"
#include "sim/allocations.hpp"

namespace thrum::sim {
namespace {

constexpr std::int64_t epoch_ns = 1'000'000'000'000;  // Virtual time begins here.
constexpr std::uint32_t decisions_per_stall = 64;
constexpr std::size_t in_a_row_max = 200;  // Then others who could run are let run.
constexpr std::int64_t forgotten_after_ns = 1'000'000'000;

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  return (hash ^ value) * 0x100000001b3u + (hash >> 47);
}

std::uint64_t id_of(const sched::activity& a) noexcept { return a.id.load(std::memory_order_relaxed); }

// A function's name without its arguments and those of its templates.
std::string_view short_name(std::string_view function) noexcept {
  constexpr std::string_view nameless = "(anonymous namespace)";
  std::size_t end = 0;
  while (end < function.size() && function[end] != '(' && function[end] != '<')
    end += function.substr(end + 1).starts_with(nameless) ? nameless.size() + 1 : 1;
  const auto name = function.substr(0, end);
  return name.substr(name.rfind(' ', name.find(nameless)) + 1);
}

// Which call of thrum a suspended fiber is in, and who called it. Closures are part of the fiber's start, which has
// their place already.
void report_place(const sched::fiber_control& f) noexcept {
  context::trace t;
  context::capture(t, f.ctx);
  char name[512];
  int shown = 0;
  for (int i = 0; i < t.count && shown < 2; ++i) {
    if (!context::name_of(t.frames[i], name)) continue;
    const auto part = short_name(name);
    if (part.starts_with("thrum::sched::")) continue;
    if (part.starts_with("thrum::detail::") || part.starts_with("std::")) break;
    os::report(shown++ == 0 ? ", in " : ", called by ");
    os::report("%.*s", static_cast<int>(part.size()), part.data());
  }
}

// As dumps do, but shorter.
void report_who(const sched::activity& a) noexcept {
  const auto where = a.where.load(std::memory_order_relaxed);
  const std::string_view path = where.file_name();
  const auto file = path.substr(path.rfind('/') + 1);
  os::report("%s %llu", a.is_fiber() ? "fiber" : "task", static_cast<unsigned long long>(id_of(a)));
  if (a.is_fiber())
    if (const auto name = static_cast<const sched::fiber_control&>(a).name.get(); name[0])
      os::report(" \"%s\"", name.data());
  os::report(" (%.*s:%u)", static_cast<int>(file.size()), file.data(), static_cast<unsigned>(where.line()));
}

}  // namespace

// The poller: all that can happen is known, so waiting for it is over at once.
class world::waiting_room final : public sched::poller {
 public:
  explicit waiting_room(world& w) noexcept : world_(w) {}

  int watch(int fd, sched::fd_watch& w) noexcept override {
    const own_allocations unwatched;
    return world_.network_.watch(fd, w);
  }
  void forget(sched::fd_watch&) noexcept override {}
  std::size_t watched() const noexcept override { return 0; }

  void wait(std::int64_t deadline_ns, std::int64_t now_ns, sched::runnable_batch& out) noexcept override {
    if (deadline_ns <= now_ns) return;
    const own_allocations unwatched;
    const auto next = std::min(deadline_ns, world_.network_.next_event_at());
    world_.look_for_lost_wake_ups(next);
    if (next != sched::never) {
      world_.now_.store(std::max(next, now_ns), std::memory_order_relaxed);
      return world_.network_.deliver(next, out);
    }
    if (world_.home_) world_.fail("deadlock: all fibers wait and nothing is left that could wake them");
    // Before the program and after it: until the thread that called run() says more.
    while (wakes_.load(std::memory_order_acquire) == seen_) os::futex_wait(wakes_, seen_);
    seen_ = wakes_.load(std::memory_order_acquire);
  }

  void wake() noexcept override {
    wakes_.fetch_add(1, std::memory_order_release);
    os::futex_wake(wakes_, 1);
  }

 private:
  world& world_;
  std::uint32_t seen_ = 0;
  std::atomic<std::uint32_t> wakes_{0};
};

world::world(const schedule& s, const census& known, recorder* r, bool tells)
    : plan_(s),
      recorder_(r),
      tells_(tells),
      chooser_(make_chooser(s, known)),
      stalls_(make_rng(s.chosen.seed, 3)),
      now_(epoch_ns),
      disks_(plan_.chosen, *this, hosts_),
      network_(plan_.chosen, *this, hosts_, disks_) {
  if (s.chosen.how == strategy::exhaustive) causality_.emplace();
}

std::unique_ptr<sched::random_source> world::make_random(unsigned index) {
  return std::make_unique<sched::seeded_source>(make_rng(plan_.chosen.seed, 4 + index));
}

std::unique_ptr<sched::poller> world::make_poller() { return std::make_unique<waiting_room>(*this); }

void world::begin(sched::scheduler& home) {
  threads_ = os::thread_count();
  home_ = &home;
  if (causality_) causality_->begin();
}

void world::end() noexcept {
  if (causality_) causality_->end();
  home_ = nullptr;
}

trace world::so_far() const noexcept {
  return {.calls = calls_,
          .allocations = allocations_,
          .starts = starts_,
          .decisions = decisions_,
          .fingerprint = fingerprint_,
          .elapsed = std::chrono::nanoseconds(now_.load(std::memory_order_relaxed) - epoch_ns)};
}

void world::warn_of_threads() const noexcept {
  if (os::thread_count() > threads_)
    os::report("thrum: sim: the program has threads of its own, which are not simulated: what follows may be wrong\n");
}

void world::fail(const char* what) noexcept {
  warn_of_threads();
  os::report("thrum: sim: %s\n", what);
  give_up();
}

void world::escaped(const char* function, const char* advice) noexcept {
  os::report("thrum: sim: the program calls %s, which is not simulated: %s\n  called by ", function, advice);
  if (const auto* who = sched::current_activity())
    sched::describe(*who, sched::labels::shown);
  else
    os::report("the simulation, for the program");
  os::report("\n");
  context::trace t;
  context::capture(t);
  context::print(t);
  give_up();
}

void world::give_up() noexcept {
  sched::report_findings(*home_);
  sched::dump_all(*home_);
  os::report("thrum: sim: replay with %s\n", to_line(plan_).c_str());
  ::_exit(failure_status);
}

bool world::program_is_inside() const noexcept {
  const auto* who = sched::current_activity();
  for (const auto* c = outside_; c; c = c->next)
    if (c->who == who) return false;
  return home_ != nullptr;
}

void world::call_outside(void (*call)(void* argument) noexcept, void* argument) noexcept {
  outside_call here{sched::current_activity(), outside_};
  outside_ = &here;
  call(argument);
  auto** at = &outside_;
  while (*at != &here) at = &(*at)->next;
  *at = here.next;
}

bool world::preempts(sched::activity& caller) noexcept {
  const own_allocations unwatched;
  if (++calls_ == plan_.chosen.goes_wrong_at && plan_.chosen.goes_wrong == fault::cancellation) {
    sched::runnable_batch woken;
    sched::cancel(caller.own_scope, detail::cancel_node::cancelled, woken);
    for (auto* a = woken.first; a; a = a->next) runnable_.push_back(a);
  }
  preempted_ = &caller;
  return true;
}

namespace {

bool is_parked(const sched::activity& a) noexcept {
  const auto word = a.word();
  return sched::waiter::code_of(word) == sched::claim_code::open && (word & sched::waiter::parked_bit) != 0;
}

// Follows who waits for whom: false when the last of them could go on, or waits for nobody in particular. Cheap, unlike
// the proof, which looks at everybody.
bool may_be_stuck(const sched::activity& a) noexcept {
  constexpr int far = 1000;  // Or round and round, in a cycle that a cancellation can end.
  const sched::activity* at = &a;
  for (int steps = 0; steps < far; ++steps) {
    const auto& reason = at->reason;
    if (reason.kind->needed) return true;
    const auto* const holder = reason.kind->holder ? reason.kind->holder(reason.object) : nullptr;
    if (!holder) return false;
    if (holder->kind() == sched::waiter_kind::thread) return true;
    at = static_cast<const sched::activity*>(holder);
    if (!at->alive() || at == &a) return true;
    if (!is_parked(*at)) return false;
  }
  return true;
}

}  // namespace

// A cycle is closed by the last of its members that begins to wait, and a lock that is lost is found by who waits for
// it.
void world::look_whether_the_last_is_stuck() noexcept {
  if (!home_ || !last_ || !last_->alive() || id_of(*last_) != last_id_) return;
  if (!is_parked(*last_) || !may_be_stuck(*last_)) return;
  const auto found = sched::wait_graph(*home_).prove();
  const auto for_ever = [](const finding& f) { return f.for_ever(); };
  if (std::any_of(found.begin(), found.end(), for_ever)) fail("deadlock: some can never go on, whatever the others do");
}

// A look at everybody, shared out among so many jumps of the clock that it costs each of them little; and before every
// jump that is long enough to lose somebody.
bool world::look_is_due(std::int64_t next_ns) noexcept {
  constexpr std::size_t looked_at_per_jump = 4;
  const bool long_enough = next_ns - now_ns() >= plan_.chosen.lost_after.count();
  if (++jumps_ * looked_at_per_jump < home_->fibers().total() + home_->tasks().total() && !long_enough) return false;
  jumps_ = 0;
  return true;
}

// Nothing happens before `next_ns`.
void world::look_for_lost_wake_ups(std::int64_t next_ns) noexcept {
  if (!home_ || !look_is_due(next_ns)) return;
  auto& here = *sched::this_worker();
  if (causality_) causality_->end();  // To look is no step.
  here.leave();                       // Predicates are the program's.
  const auto lost = lost_.look(*home_, now_ns(), next_ns, plan_.chosen.lost_after.count());
  here.enter();
  if (causality_) causality_->begin();
  if (lost.empty() || (next_ns != sched::never && os::thread_count() > threads_)) return;
  warn_of_threads();
  os::report("thrum: sim: a wake-up was lost: what is waited for is there, and nobody says so\n");
  for (const auto& v : lost) {
    os::report("  ");
    sched::describe(*v.who, sched::labels::left_out);
    os::report(" waits for %s", v.who->reason.kind->what);
    if (const void* object = v.who->reason.shown()) os::report(" %p", object);
    os::report(", %s\n", v.how);
  }
  give_up();
}

sched::activity* world::pick(const sched::runnable_batch& found) noexcept {
  const own_allocations unwatched;
  look_whether_the_last_is_stuck();
  sched::runnable_batch all = found;
  network_.deliver(now_ns(), all);
  end_step(all);
  for (auto* a = all.first; a; a = a->next) runnable_.push_back(a);
  if (runnable_.empty()) return nullptr;
  if (++picks_ > plan_.chosen.decisions_max) fail("the program does not end: it has made too many decisions");
  let_time_pass();
  put_preempted_in_its_place();
  const auto choice = runnable_.size() > 1 ? decide() : 0;
  auto* const next = runnable_[choice];
  runnable_.erase(runnable_.begin() + static_cast<std::ptrdiff_t>(choice));
  in_a_row_ = next == last_ && !runnable_.empty() ? in_a_row_ + 1 : 0;
  if (tells_ && (next != last_ || id_of(*next) != last_id_)) tell(*next);
  last_ = next;
  last_id_ = id_of(*next);
  step_is_under_way_ = true;
  return next;
}

// Tells who keeps account of steps that one has ended, if one was under way: `woken` are those who can run since.
void world::end_step(const sched::runnable_batch& woken) noexcept {
  const auto who = std::exchange(step_is_under_way_, false) ? last_id_ : 0;
  chooser_->step(who, woken);
  if (!causality_) return;
  if (who == 0) return causality_->due(woken);
  if (id_of(*last_) == who) causality_->touched(&last_->cancel_lock);  // It has looked whether it is cancelled.
  causality_->step(who, has_yielded(woken), now_ns(), woken);
}

// Whoever has neither parked, nor ended, nor was preempted.
bool world::has_yielded(const sched::runnable_batch& woken) const noexcept {
  for (const auto* a = woken.first; a; a = a->next)
    if (a == last_ && a != preempted_ && id_of(*a) == last_id_) return true;
  return false;
}

void world::let_time_pass() noexcept {
  auto passed = plan_.chosen.step.count();
  const auto stall = plan_.chosen.how == strategy::exhaustive ? 0 : plan_.chosen.stall.count();
  if (stall > 0 && stalls_.below(decisions_per_stall) == 0)
    passed += static_cast<std::int64_t>(stalls_.next() % static_cast<std::uint64_t>(stall));
  now_.store(now_.load(std::memory_order_relaxed) + passed, std::memory_order_relaxed);
}

// First, as it could go on; but last when it has had so many turns that it seems to wait for the others.
void world::put_preempted_in_its_place() noexcept {
  const auto* who = std::exchange(preempted_, nullptr);
  const auto at = std::find(runnable_.begin(), runnable_.end(), who);
  last_is_preempted_ = at != runnable_.end();
  if (in_a_row_ >= in_a_row_max) {
    in_a_row_ = 0;
    chooser_->demote(*last_);
  } else if (at != runnable_.end()) {
    std::rotate(runnable_.begin(), at, at + 1);
  }
}

std::size_t world::decide() noexcept {
  const auto choice = chooser_->choose(decisions_, runnable_);
  if (recorder_) recorder_->decided(situation(choice));
  ++decisions_;
  fingerprint_ = mix(mix(fingerprint_, runnable_.size()), id_of(*runnable_[choice]));
  fingerprint_ = mix(fingerprint_, static_cast<std::uint64_t>(now_.load(std::memory_order_relaxed)));
  return choice;
}

decision world::situation(std::size_t choice) noexcept {
  decision d{.choice = choice, .candidates = runnable_.size(), .state = 0, .last = nobody, .last_is_preempted = false};
  if (!causality_) return d;
  for (std::size_t i = 0; i < runnable_.size(); ++i)
    if (runnable_[i] == last_ && id_of(*last_) == last_id_) d.last = i;
  d.last_is_preempted = last_is_preempted_;
  d.state = causality_->state_at(now_ns(), d.last == nobody ? 0 : last_id_, last_is_preempted_);
  return d;
}

void world::tell(const sched::activity& next) noexcept {
  if (last_ && id_of(*last_) == last_id_) tell_of_the_last(*last_);
  os::report("%8llu  ", static_cast<unsigned long long>(decisions_));
  report_who(next);
  os::report(" runs; %zu more could\n", runnable_.size());
}

void world::tell_of_the_last(const sched::activity& last) noexcept {
  if (!last.alive()) return;
  const bool waits = (last.word() & sched::waiter::parked_bit) != 0;
  os::report("          … which %s%s", waits ? "waits for " : "could go on", waits ? last.reason.kind->what : "");
  if (last.is_fiber()) report_place(static_cast<const sched::fiber_control&>(last));
  os::report("\n");
}

namespace {

// Cancels who is left, and waits for them in virtual time.
void end_the_others(sched::scheduler& home, world& w, const options& o) {
  scope shielded{.shield = true};
  const auto one_left_until = [&](std::int64_t deadline) {
    while (home.live_count() > 1 && w.now_ns() <= deadline) this_fiber::sleep_for(std::chrono::milliseconds(1));
    return home.live_count() == 1;
  };
  if (o.leaks_fail && !one_left_until(w.now_ns() + forgotten_after_ns))
    w.fail("the program has returned, and fibers that it has forgotten still wait or run");
  home.cancel_all();
  if (!one_left_until(w.now_ns() + o.grace.count()))
    w.fail("fibers still run after the grace period, although they are cancelled");
}

}  // namespace

trace run_in_world(const schedule& s, const simulation& what) {
  auto owned = std::make_unique<world>(s, what.counted ? *what.counted : census{}, what.told, what.tells);
  world& w = *owned;
  sched::scheduler home({.processors = 1, .stack_size = s.chosen.stack_size, .monitored = false}, std::move(owned));
  std::exception_ptr failure;
  trace result;
  const auto main = [&] {
    w.begin(home);
    try {
      const watched_allocations watched(w);
      what.program();
    } catch (const cancelled&) {
    } catch (...) {
      failure = std::current_exception();
    }
    end_the_others(home, w, s.chosen);
    result = w.so_far();
    if (what.counted) *what.counted = w.counted();
    w.end();
  };
  detail::fiber_access::make(detail::launch(&home, {.name = "main"}, main, what.where, false)).join();
  if (failure) std::rethrow_exception(failure);
  return result;
}

trace run(const options& o, const std::function<void()>& program, std::source_location where) {
  schedule s;
  s.chosen = o;
  const char* text = std::getenv("THRUM_SIM");
  s.scripted = o.how == strategy::exhaustive;  // The first of them.
  if (text) s = from_text(text, o);
  try {
    return run_in_world(s, {.program = program, .where = where, .tells = text != nullptr});
  } catch (...) {
    os::report("thrum: sim: an exception has left the program; replay with %s\n", to_line(s).c_str());
    throw;
  }
}

}  // namespace thrum::sim
