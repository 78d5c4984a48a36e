// select over channels, conditions, the ends of others, timers and cancellation.
//
// The clauses that look ready are tried in random order, each under its own lock alone, until one is done. When none
// is, the locks of all channels and conditions are taken, in the order of their addresses, so that two selects cannot
// block each other. If nothing is ready at that instant either, a select enqueues a node at every one, releases the
// locks and parks; whoever claims it says by the code which clause has happened. It then takes its other nodes out.
// (This is Go's algorithm, selectgo, which also tries under all locks.)
//
// Whose end is waited for has no queue but a place for one joiner, who is claimed with the first code of all: then the
// select looks for who has ended.
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/select_core.hpp>

#include "base/assert.hpp"
#include "chan/channel_core.hpp"
#include "sched/fd_watch.hpp"
#include "sched/fiber_end.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

using sched::claim_code;

constexpr claim_code somebody_ended = sched::clause_code(0);
// Two codes a clause: happened, and closed.
claim_code code_of(std::size_t clause) noexcept {
  return sched::clause_code(static_cast<std::uint32_t>(2 * clause + 1));
}

constexpr std::size_t none = SIZE_MAX;
constexpr std::size_t clauses_max = 1 << 15;

bool on_channel(const select_clause& c) noexcept {
  return c.kind == clause_kind::receive || c.kind == clause_kind::send;
}
bool has_queue(const select_clause& c) noexcept {
  return on_channel(c) ? c.channel != nullptr : c.kind == clause_kind::condition;
}
object_lock& lock_of(const select_clause& c) noexcept { return on_channel(c) ? c.channel->lock : c.queue->lock; }
wait_list& queue_of(const select_clause& c) noexcept {
  if (c.kind == clause_kind::condition) return c.queue->waiters;
  return c.kind == clause_kind::send ? c.channel->senders : c.channel->receivers;
}

// A glance, without the lock; what a condition's lock guards cannot be glanced at.
bool seems_ready(const select_clause& c) noexcept {
  if (c.kind == clause_kind::end) return sched::has_ended(*c.ended);
  if (!on_channel(c)) return c.kind == clause_kind::condition;
  if (!c.channel) return false;
  return c.kind == clause_kind::send ? c.channel->seems_ready_to_send() : c.channel->seems_ready_to_receive();
}

bool is_of_descriptor(const select_clause& c) noexcept {
  return c.holds == &sched::fd_watch::readable_or_closed || c.holds == &sched::fd_watch::writable_or_closed;
}

// For a simulation: what is there for one of the clauses, but for timers, which claim by themselves.
const char* could_happen(const select_clause& c, const sched::waiter& who) noexcept {
  static constexpr const char* to_send[] = {nullptr, "one of whose channels is closed",
                                            "one of whose channels has room",
                                            "from one of whose channels somebody receives"};
  static constexpr const char* to_receive[] = {nullptr, "one of whose channels is closed",
                                               "one of whose channels has an element",
                                               "on one of whose channels somebody sends"};
  if (c.kind == clause_kind::end)
    return sched::has_ended(*c.ended) ? "one of whose fibers or tasks has ended" : nullptr;
  if (!has_queue(c)) return nullptr;
  if (c.kind == clause_kind::send) return to_send[static_cast<std::size_t>(c.channel->to_send(who))];
  if (c.kind == clause_kind::receive) return to_receive[static_cast<std::size_t>(c.channel->to_receive(who))];
  std::lock_guard held(c.queue->lock);
  if (!c.holds(c.element)) return nullptr;
  return is_of_descriptor(c) ? "one of whose descriptors is ready" : "one of whose futures is ready";
}
const char* could_go_on(const void* object, const sched::waiter& who) noexcept {
  const auto& room = *static_cast<const select_room*>(object);
  for (std::size_t i = 0; i < room.count; ++i)
    if (const char* how = could_happen(room.clauses[i], who)) return how;
  return nullptr;
}

// The object is the select's own room, which says nothing to anybody else.
constexpr sched::wait_kind awaited_clause{
    .what = "a select", .could_go_on = &could_go_on, .shown = &sched::wait_kind::nothing};
constexpr sched::wait_kind awaited_event{
    .what = "a select", .external = true, .could_go_on = &could_go_on, .shown = &sched::wait_kind::nothing};
constexpr sched::wait_kind awaited_never{.what = "a select", .hopeless = true};

class selection {
 public:
  explicit selection(const select_room& room)
      : room_(room),
        clauses_(room.clauses),
        order_(room.order),
        nodes_(static_cast<sched::wait_node*>(room.nodes)),
        count_(room.count) {
    if (count_ > clauses_max) throw std::length_error("thrum: a select has at most 32,768 clauses");
    find_special_clauses();
  }

  select_result run() {
    claim_code code;
    std::size_t ended;
    {
      sched::waiting w(sensitivity());
      if (w.already_cancelled()) return {cancel_, channel_result::done};
      if (auto r = try_at_once(); r.index < count_) return r;
      enqueue(w.self(), w.open());
      code = w.park(deadline_, reason());
      ended = leave(w.self(), fired_by(code));
    }
    if (cancel_ == none) sched::throw_if_cancelled(code);
    return result_of(code, ended);
  }

  // For a task: a result at once, or the task is enqueued.
  bool begin(select_wait& w, async_timer& timer) {
    auto& self = sched::begin_task_call(sensitivity());
    if (cancel_ != none && self.cancel_pending.load(std::memory_order_acquire))
      w.result = {cancel_, channel_result::done};
    else
      w.result = try_at_once();
    if (w.result.index < count_) return sched::go_on();
    enqueue(self, self.open_episode(true));
    w.queued = queued_;
    w.waiting = true;
    park_task(self, reason(), deadline_, &timer);
    return false;
  }
  select_result end(const select_wait& w, async_timer& timer) {
    queued_ = w.queued;
    const auto code = sched::end_parking(&timer);
    const auto ended = leave(*sched::current_task(), fired_by(code));
    if (cancel_ == none) sched::throw_if_cancelled(code);
    return result_of(code, ended);
  }

 private:
  // Null channels alone are never ready.
  sched::wait_reason reason() const noexcept {
    if (is_external_) return {&awaited_event, &room_};
    if (queued_ > 0 || has_ends_) return {&awaited_clause, &room_};
    return {&awaited_never};
  }
  sched::cancellation sensitivity() const noexcept {
    return cancel_ == none ? sched::cancellation::point : sched::cancellation::reported;
  }

  void find_special_clauses() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      const auto& c = clauses_[i];
      if (c.kind == clause_kind::otherwise) otherwise_ = i;
      if (c.kind == clause_kind::cancelled) cancel_ = i;
      if (c.kind == clause_kind::end) has_ends_ = true;
      if (is_of_descriptor(c)) is_external_ = true;
      if (c.kind == clause_kind::timer && comes_first(c.deadline_ns)) {
        deadline_ = c.deadline_ns;
        timer_ = i;
      }
    }
  }

  // The earliest timer is the one that counts, and of those that are due at the same instant any.
  bool comes_first(std::int64_t deadline_ns) noexcept {
    if (deadline_ns > deadline_ || deadline_ns == sched::never) return false;
    as_early_ = deadline_ns < deadline_ ? 1 : as_early_ + 1;
    return as_early_ == 1 || sched::random_below(as_early_) == 0;
  }

  // Index count_: nothing is ready, and all is locked.
  select_result try_at_once() {
    if (auto r = try_one_by_one(); r.index < count_) return r;
    sort_by_lock();
    for (lock_all(); any_is_ready(); lock_all()) {
      unlock_all();
      if (auto r = try_one_by_one(); r.index < count_) return r;
    }
    if (otherwise_ == none) return {count_, channel_result::would_block};
    unlock_all();
    return {otherwise_, channel_result::done};
  }

  // Index count_: nothing was ready any more when it was tried. It draws with no lock held: drawing enters the runtime,
  // where a fiber may have to serve timers and the poller, which take such locks too.
  select_result try_one_by_one() {
    auto* candidates = order_ + count_;
    for (auto left = find_candidates(candidates); left > 0; --left) {
      auto& drawn = candidates[left > 1 ? sched::random_below(left) : 0];
      if (auto r = try_alone(drawn); r.index < count_) return r;
      drawn = candidates[left - 1];
    }
    return {count_, channel_result::would_block};
  }

  std::uint32_t find_candidates(std::uint16_t* to) const noexcept {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < count_; ++i)
      if (seems_ready(clauses_[i])) to[n++] = static_cast<std::uint16_t>(i);
    if (timer_ != none && deadline_ <= sched::now_ns()) to[n++] = static_cast<std::uint16_t>(timer_);
    return n;
  }

  select_result try_alone(std::size_t i) {
    const auto& c = clauses_[i];
    if (!has_queue(c)) return {i, channel_result::done};
    // Others may take the room that was made, but hardly twice.
    if (c.kind == clause_kind::send && c.channel->unbounded()) c.channel->make_room();
    sched::claimed_waiter wake;
    lock_of(c).lock();
    const auto r = try_one(c, wake);
    lock_of(c).unlock();
    if (r == channel_result::would_block) return {count_, r};
    finish_wake(wake);
    give_back(c);
    return {i, r};
  }
  static channel_result try_one(const select_clause& c, sched::claimed_waiter& wake) noexcept {
    if (c.kind == clause_kind::receive) return c.channel->try_receive(c.element, wake);
    if (c.kind == clause_kind::send) return c.channel->try_send(c.element, wake);
    return c.holds(c.element) ? channel_result::done : channel_result::would_block;
  }
  static void give_back(const select_clause& c) noexcept {
    if (c.kind == clause_kind::receive && c.channel->unbounded()) c.channel->give_back();
  }

  // order_[0, queued_) becomes the clauses with a queue, sorted by their locks.
  void sort_by_lock() noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (has_queue(clauses_[i])) order_[queued_++] = static_cast<std::uint16_t>(i);
    const auto before = [this](auto a, auto b) { return &lock_of(clauses_[a]) < &lock_of(clauses_[b]); };
    if (!std::is_sorted(order_, order_ + queued_, before)) std::sort(order_, order_ + queued_, before);
  }

  // One that stands in several clauses is locked once.
  template <class Visit>
  void for_each_lock(Visit visit) noexcept {
    object_lock* before = nullptr;
    for (std::size_t i = 0; i < queued_; ++i) {
      object_lock* l = &lock_of(clauses_[order_[i]]);
      if (std::exchange(before, l) != l) visit(*l);
    }
  }
  void lock_all() noexcept {
    for_each_lock([](object_lock& l) { l.lock(); });
  }
  void unlock_all() noexcept {
    for_each_lock([](object_lock& l) { l.unlock(); });
  }

  // Under all locks: what could be taken without waiting.
  bool any_is_ready() const noexcept {
    for (std::size_t i = 0; i < queued_; ++i) {
      const auto& c = clauses_[order_[i]];
      if (on_channel(c) ? seems_ready(c) : c.holds(c.element)) return true;
    }
    return false;
  }

  // The episode is open and all is locked; unlocks it.
  void enqueue(sched::waiter& self, std::uint64_t episode) noexcept {
    for (std::size_t i = 0; i < queued_; ++i) {
      auto& c = clauses_[order_[i]];
      auto& node = *new (&nodes_[i]) sched::wait_node(self);
      node.slot = c.element;
      node.code = code_of(order_[i]);
      push_back(queue_of(c), node);
    }
    unlock_all();
    if (!has_ends_) return;
    for (std::size_t i = 0; i < count_; ++i)
      if (clauses_[i].kind == clause_kind::end && !sched::begin_join(*clauses_[i].ended, self, episode))
        self.claim(somebody_ended);  // It is about to: we shall not park.
  }

  // The clause through whose node it was claimed, which is out of its queue.
  static std::size_t fired_by(claim_code code) noexcept {
    if (code == claim_code::timed_out || code == claim_code::cancelled || code == somebody_ended) return none;
    return (sched::clause_index(code) - 1) / 2;
  }

  // Leaves no trace. Tells who of those whose end was waited for has ended, if anybody.
  std::size_t leave(sched::waiter& self, std::size_t fired) noexcept {
    for (std::size_t i = 0; i < queued_; ++i) {
      if (order_[i] == fired) continue;
      auto& c = clauses_[order_[i]];
      std::lock_guard held(lock_of(c));
      if (nodes_[i].linked) sched::remove(queue_of(c), nodes_[i]);
    }
    std::size_t ended = none;
    for (std::size_t i = 0; has_ends_ && i < count_; ++i)
      if (clauses_[i].kind == clause_kind::end && sched::end_join(*clauses_[i].ended, self, claim_code::timed_out))
        ended = i;
    return ended;
  }

  select_result result_of(claim_code code, std::size_t ended) const noexcept {
    if (code == claim_code::timed_out) return {timer_, channel_result::done};
    if (code == claim_code::cancelled) return {cancel_, channel_result::done};
    if (code == somebody_ended) return {ended, channel_result::done};
    const bool closed = code != code_of(fired_by(code));
    return {fired_by(code), closed ? channel_result::closed : channel_result::done};
  }

  const select_room& room_;  // The caller's, for as long as it waits.
  select_clause* const clauses_;
  std::uint16_t* const order_;
  sched::wait_node* const nodes_;
  const std::size_t count_;
  std::size_t queued_ = 0;
  std::size_t otherwise_ = none;
  std::size_t cancel_ = none;
  std::size_t timer_ = none;
  std::uint32_t as_early_ = 0;  // Timers that are due when that one is, while they are counted.
  std::int64_t deadline_ = sched::never;
  bool has_ends_ = false;
  bool is_external_ = false;
};

}  // namespace

select_result run_select(const select_room& room) { return selection(room).run(); }

bool begin_select(select_wait& w, async_timer& timer) { return selection(w.room).begin(w, timer); }

select_result end_select(select_wait& w, async_timer& timer) {
  return w.waiting ? selection(w.room).end(w, timer) : w.result;
}

}  // namespace thrum::detail
