// Tickers and timers: a channel of one element, and a timer that runs only while somebody waits.
//
// The model. `next_` is when the next tick is due. While there are listeners, the timer is armed for it; its callback
// puts the tick into the channel, or drops it when one is there already, and moves `next_` on. It does not arm the
// timer again: a timer may not be armed while its callback runs (whoever cancels it could not tell one run from the
// other), and arming may need memory. The receiver that got the tick does, if others still listen when it stops to. A
// tick that became due while nobody listened is produced by the next who does, after the last callback has ended: else
// a tick could overtake the one before it. So a ticker that nobody waits for is no timer that wakes a worker, keeps a
// deadlock from being proved, or outlives its runtime.
//
// State: idle -> armed (by listeners) -> idle, or ended after the last tick (by the callback). stop() and reset() take
// it from wherever it is to ended, and then wait out the callback. The callback must not take `control_`, since others
// wait for its end with that lock held; and a listener enters the runtime, where callbacks run, without the channel's
// lock.
//
// Rejected: a fiber per ticker, since it would hold a stack; cancelling and arming in the callback, see above; a
// deadline at each receiver's wait, since a select has none for a single clause that others may take away.
#include <thrum/ticker.hpp>

#include <algorithm>
#include <mutex>
#include <new>
#include <stdexcept>

#include "base/fork.hpp"
#include "chan/channel_core.hpp"
#include "sched/park.hpp"
#include "sched/scheduler.hpp"

namespace thrum::detail {
namespace {

// Made runnable after all locks are released: to be declared before them.
struct woken_waiters : sched::runnable_batch {
  ~woken_waiters() { sched::make_runnable(*this); }
};

}  // namespace

class tick_source {
 public:
  tick_source(sched::scheduler& home, std::int64_t first_ns, std::int64_t period_ns)
      : home_(home), ticks_(make_channel(element_type_of<tick_time>, 1)), next_(first_ns), period_(period_ns) {
    timer_.source = this;
    timer_.callback = &on_due;
  }
  ~tick_source() { release(ticks_); }

  channel_core* ticks() const noexcept { return ticks_; }
  void listen() noexcept;
  void stop_listening() noexcept;
  void produce_if_due() noexcept;
  bool stop() noexcept;
  void restart(std::int64_t first_ns, std::int64_t period_ns) noexcept;

 private:
  enum class state : std::uint8_t { idle, armed, ended };
  struct due_timer : sched::timer {
    tick_source* source;
  };

  static void on_due(sched::timer& t, sched::runnable_batch& out) noexcept;
  bool produce(state from, sched::runnable_batch& out) noexcept;
  void produce_overdue(sched::runnable_batch& out) noexcept;
  void arm() noexcept;
  void disarm() noexcept;
  state end_ticks() noexcept;
  void close(sched::runnable_batch& out) noexcept;

  // Constant after construction.
  sched::scheduler& home_;
  channel_core* const ticks_;

  // Own synchronisation.
  due_timer timer_;
  detail::atomic<state> state_{state::idle};

  // Written while idle or ended under control_, or by whoever takes the state from armed; read by who then sees it
  // idle.
  std::int64_t next_;

  object_lock control_;  // Arming and taking back. Guards:
  std::size_t listeners_ = 0;
  std::int64_t period_;  // Changed only while ended.
};

// On the worker that serves the timers. The receiver may be at home in another runtime than the timer.
void tick_source::on_due(sched::timer& t, sched::runnable_batch& out) noexcept {
  auto& self = *static_cast<due_timer&>(t).source;
  sched::runnable_batch woken;
  self.produce(state::armed, woken);
  for (auto* f = woken.first; f;) {
    auto* following = f->next;
    f->home == &self.home_ ? out.push(f) : sched::ready_waiter(*f);
    f = following;
  }
}

// The tick that is due. Takes the state from `from`: false when stop() or reset() was faster. It is given away only
// afterwards, so that whoever gets it finds the state in which the next tick is armed.
bool tick_source::produce(state from, sched::runnable_batch& out) noexcept {
  const auto due = next_;
  const auto period = period_;
  const auto late = std::max<std::int64_t>(home_.now() - due, 0);
  if (period > 0) next_ = never - period - late > due ? due + (late / period + 1) * period : never;
  // Release: publishes next_ to who sees it idle.
  if (!state_.compare_exchange_strong(from, period > 0 ? state::idle : state::ended, std::memory_order_acq_rel))
    return false;
  const tick_time tick{std::chrono::nanoseconds(due)};
  bool given = false;
  std::lock_guard held(ticks_->lock);
  while (!given && ticks_->receivers.first) {
    auto& n = *ticks_->receivers.first;
    sched::remove(ticks_->receivers, n);
    new (n.slot) tick_time(tick);
    given = sched::claim_waiter(*n.who, n.code, out);
  }
  sched::claimed_waiter nobody;
  auto copy = tick;
  if (!given) ticks_->try_send(&copy, nobody);  // Dropped when there is one.
  if (period == 0) close(out);
  return true;
}

// With the channel's lock held.
void tick_source::close(sched::runnable_batch& out) noexcept {
  ticks_->closed = true;
  while (sched::wait_node* n = ticks_->receivers.first) {
    sched::remove(ticks_->receivers, *n);
    sched::claim_waiter(*n->who, closed_code(n->code), out);
  }
}

// Under control_.
void tick_source::produce_overdue(sched::runnable_batch& out) noexcept {
  if (state_.load(std::memory_order_acquire) != state::idle || next_ > home_.now()) return;
  sched::timer_set::cancel(timer_);  // Its last callback may still have the tick before in hand.
  produce(state::idle, out);
}

// Under control_, unless it is armed.
void tick_source::arm() noexcept {
  if (state_.load(std::memory_order_acquire) != state::idle || next_ == never) return;
  sched::timer_set::cancel(timer_);  // Its last callback may be on its way out.
  timer_.when = next_;
  state_.store(state::armed, std::memory_order_release);
  home_.arm(timer_);
}

// Under control_. Afterwards nothing is armed and no callback runs.
void tick_source::disarm() noexcept {
  sched::timer_set::cancel(timer_);
  auto expected = state::armed;
  state_.compare_exchange_strong(expected, state::idle, std::memory_order_acq_rel);
}

void tick_source::listen() noexcept {
  woken_waiters woken;
  sched::runtime_section inside;
  std::lock_guard held(control_);
  produce_overdue(woken);
  arm();
  ++listeners_;
}

void tick_source::stop_listening() noexcept {
  sched::runtime_section inside;
  std::lock_guard held(control_);
  if (--listeners_ == 0)
    disarm();
  else
    arm();
}

void tick_source::produce_if_due() noexcept {
  woken_waiters woken;
  std::lock_guard held(control_);
  produce_overdue(woken);
}

// Under control_. Afterwards no callback runs, and none will do anything.
tick_source::state tick_source::end_ticks() noexcept {
  const auto before = state_.exchange(state::ended, std::memory_order_acq_rel);
  sched::timer_set::cancel(timer_);
  return before;
}

bool tick_source::stop() noexcept {
  woken_waiters woken;
  std::lock_guard held(control_);
  const bool to_come = end_ticks() != state::ended;
  std::lock_guard held_too(ticks_->lock);
  const bool waiting = ticks_->count > 0;
  ticks_->count = 0;
  close(woken);
  return to_come || waiting;
}

void tick_source::restart(std::int64_t first_ns, std::int64_t period_ns) noexcept {
  sched::runtime_section inside;
  std::lock_guard held(control_);
  end_ticks();
  {
    std::lock_guard held_too(ticks_->lock);
    ticks_->count = 0;
    ticks_->closed = false;
  }
  next_ = first_ns;
  period_ = period_ns;
  state_.store(state::idle, std::memory_order_release);
  if (listeners_ > 0) arm();
}

// ---------------------------------------------------------------------------------------------------------------

std::shared_ptr<tick_source> make_tick_source(std::int64_t first_ns, std::int64_t period_ns) {
  auto* w = sched::this_worker();
  if (!w) base::refuse_after_fork();
  if (!w) throw std::logic_error("thrum: a ticker or timer needs a running runtime: make it in a fiber");
  return std::make_shared<tick_source>(w->home, first_ns, period_ns);
}

void restart_ticks(tick_source& s, std::int64_t first_ns, std::int64_t period_ns) noexcept {
  s.restart(first_ns, period_ns);
}
bool stop_ticks(tick_source& s) noexcept { return s.stop(); }
channel_core* ticks_of(tick_source& s) noexcept { return s.ticks(); }
void take_due_tick(tick_source& s) noexcept { s.produce_if_due(); }

std::int64_t checked_period(std::int64_t period_ns) {
  if (period_ns <= 0) throw std::invalid_argument("thrum: a ticker needs a period");
  return period_ns;
}

tick_listener::tick_listener(std::shared_ptr<tick_source> s) : source_(std::move(s)) { source_->listen(); }
tick_listener::~tick_listener() {
  if (source_) source_->stop_listening();
}

}  // namespace thrum::detail

namespace thrum {

std::optional<tick_time> tick_receiver::receive_until_ns(std::int64_t deadline_ns) {
  const auto source = source_;
  std::optional<detail::tick_listener> listening;
  if (deadline_ns == detail::only_try)
    detail::take_due_tick(*source);
  else
    listening.emplace(source);
  detail::element_storage<tick_time> tick;
  const auto r = detail::channel_receive(detail::ticks_of(*source), tick.address(), deadline_ns);
  if (r != detail::channel_result::done) return {};
  return tick.take();
}

}  // namespace thrum
