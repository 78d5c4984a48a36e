// select over channels and timers.
//
// With the locks of all its channels held (in the order of their addresses, so that two selects cannot block each
// other), a select tries the clauses in random order and takes the first that is ready: one instant, uniform choice.
// When none is, it enqueues a node at every channel, releases the locks and parks; whoever claims it says by the code
// which clause has happened. It then takes its other nodes out. (This is Go's algorithm, selectgo.)
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "chan/channel_core.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

using sched::claim_code;

// Two codes a clause: happened, and closed.
claim_code code_of(std::size_t clause) noexcept { return sched::clause_code(static_cast<std::uint32_t>(2 * clause)); }

wait_list& queue_of(const select_clause& c) noexcept {
  return c.kind == clause_kind::send ? c.channel->senders : c.channel->receivers;
}

constexpr sched::wait_kind awaited_clause{"a select"};

bool on_channel(const select_clause& c) noexcept {
  return (c.kind == clause_kind::receive || c.kind == clause_kind::send) && c.channel;
}

class selection {
 public:
  selection(select_clause* clauses, std::uint16_t* order, std::size_t count) noexcept
      : clauses_(clauses), order_(order), count_(count) {}

  select_result run() {
    sched::waiting w(sched::cancellation::point);
    if (auto r = try_at_once(); r.index < count_) return r;
    return wait(w);
  }

  // For a task: a result at once, or the task is enqueued.
  bool begin(sched::task_control& self, select_wait& w, async_timer& timer) {
    w.result = try_at_once();
    if (w.result.index < count_) return go_on(self);
    self.open_episode(true);
    enqueue(self, static_cast<sched::wait_node*>(w.nodes));
    w.channels = channels_;
    w.timer_index = timer_;
    w.waiting = true;
    park_task(self, {&awaited_clause}, deadline_, &timer);
    return false;
  }
  static select_result end(select_wait& w, async_timer& timer) {
    if (!w.waiting) return w.result;
    const auto code = sched::end_parking(&timer);
    selection s(w.clauses, w.order, w.count);
    s.channels_ = w.channels;
    s.timer_ = w.timer_index;
    s.leave_queues(static_cast<sched::wait_node*>(w.nodes));
    if (code == claim_code::cancelled) throw cancelled{};
    return s.result_of(code);
  }

 private:
  static constexpr std::size_t small_max = 64;

  // Index count_: nothing is ready, and the channels are locked.
  select_result try_at_once() {
    if (count_ > small_max) throw std::length_error("thrum: a select has at most 64 clauses");
    find_special_clauses();
    sort_channels();
    do {  // Others may take the room that was made, but hardly twice.
      make_room();
      lock_all();
      sched::claimed_waiter wake;
      if (auto r = try_all(wake); r.index < count_) {
        unlock_all();
        finish_wake(wake);
        give_back(clauses_[r.index]);
        return r;
      }
      if (unbounded_send_) unlock_all();
    } while (unbounded_send_);
    if (otherwise_ == SIZE_MAX) return {count_, channel_result::would_block};
    unlock_all();
    return {otherwise_, channel_result::done};
  }

  void find_special_clauses() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      if (clauses_[i].kind == clause_kind::otherwise) otherwise_ = i;
      if (clauses_[i].kind == clause_kind::timer && clauses_[i].deadline_ns < deadline_) {
        deadline_ = clauses_[i].deadline_ns;
        timer_ = i;
      }
    }
  }

  // What is sent to an unbounded channel must not wait: this is where memory is taken, with no lock held.
  void make_room() {
    for (std::size_t i = 0; i < channels_; ++i) {
      const auto& c = clauses_[order_[i]];
      if (c.kind != clause_kind::send || !c.channel->unbounded()) continue;
      unbounded_send_ = true;
      c.channel->make_room();
    }
  }
  static void give_back(const select_clause& c) noexcept {
    if (c.kind == clause_kind::receive && c.channel->unbounded()) c.channel->give_back();
  }

  bool timer_is_due() const noexcept { return timer_ < count_ && deadline_ <= sched::now_ns(); }

  // order_[0, channels_) becomes the channel clauses, sorted by channel.
  void sort_channels() noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (on_channel(clauses_[i])) order_[channels_++] = static_cast<std::uint16_t>(i);
    const auto by_channel = [this](auto a, auto b) { return clauses_[a].channel < clauses_[b].channel; };
    if (!std::is_sorted(order_, order_ + channels_, by_channel)) std::sort(order_, order_ + channels_, by_channel);
  }

  // A channel that stands in several clauses is locked once.
  template <class Visit>
  void for_each_channel(Visit visit) noexcept {
    channel_core* before = nullptr;
    for (std::size_t i = 0; i < channels_; ++i) {
      channel_core* c = clauses_[order_[i]].channel;
      if (std::exchange(before, c) != c) visit(*c);
    }
  }
  void lock_all() noexcept {
    for_each_channel([](channel_core& c) { c.lock.lock(); });
  }
  void unlock_all() noexcept {
    for_each_channel([](channel_core& c) { c.lock.unlock(); });
  }

  select_result try_all(sched::claimed_waiter& wake) noexcept {
    // A random permutation, made as it is consumed (Fisher and Yates).
    std::uint16_t shuffled[small_max];
    auto left = static_cast<std::uint32_t>(std::copy(order_, order_ + channels_, shuffled) - shuffled);
    if (timer_is_due()) shuffled[left++] = static_cast<std::uint16_t>(timer_);
    // One draw from the processor's source serves the whole permutation, through a congruential generator (Knuth's).
    std::uint64_t random = left > 1 ? sched::random_below(UINT32_MAX) : 0;
    for (; left > 0; --left) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      std::swap(shuffled[(random >> 32) * left >> 32], shuffled[left - 1]);
      const auto i = shuffled[left - 1];
      auto& c = clauses_[i];
      if (c.kind == clause_kind::timer) return {i, channel_result::done};
      const auto r =
          c.kind == clause_kind::send ? c.channel->try_send(c.element, wake) : c.channel->try_receive(c.element, wake);
      if (r != channel_result::would_block) return {i, r};
    }
    return {count_, channel_result::would_block};
  }

  select_result wait(sched::waiting& w) {
    // On the caller's stack only what it needs: most selects have few clauses.
    return channels_ <= 8 ? wait_with<8>(w) : wait_with<small_max>(w);
  }

  template <std::size_t N>
  [[gnu::noinline]] select_result wait_with(sched::waiting& w) {
    alignas(sched::wait_node) std::byte memory[N * sizeof(sched::wait_node)];
    auto* nodes = reinterpret_cast<sched::wait_node*>(memory);
    w.open();
    enqueue(w.self(), nodes);
    const auto code = w.park(deadline_, {&awaited_clause});
    leave_queues(nodes);
    w.throw_if_cancelled(code);
    return result_of(code);
  }

  // The episode is open and the channels are locked; unlocks them.
  void enqueue(sched::waiter& self, sched::wait_node* nodes) noexcept {
    for (std::size_t i = 0; i < channels_; ++i) {
      auto& c = clauses_[order_[i]];
      auto& node = *new (&nodes[i]) sched::wait_node(self);
      node.slot = c.element;
      node.code = code_of(order_[i]);
      push_back(queue_of(c), node);
    }
    unlock_all();
  }
  void leave_queues(sched::wait_node* nodes) noexcept {
    for (std::size_t i = 0; i < channels_; ++i) {
      auto& c = clauses_[order_[i]];
      std::lock_guard held(c.channel->lock);
      if (nodes[i].linked) sched::remove(queue_of(c), nodes[i]);
    }
  }
  select_result result_of(claim_code code) const noexcept {
    if (code == claim_code::timed_out) return {timer_, channel_result::done};
    const auto fired = sched::clause_index(code);
    return {fired / 2, fired % 2 ? channel_result::closed : channel_result::done};
  }

  select_clause* const clauses_;
  std::uint16_t* const order_;
  const std::size_t count_;
  std::size_t channels_ = 0;
  bool unbounded_send_ = false;
  std::size_t otherwise_ = SIZE_MAX;
  std::size_t timer_ = SIZE_MAX;
  std::int64_t deadline_ = sched::never;
};

}  // namespace

select_result run_select(select_clause* clauses, std::uint16_t* order, std::size_t count) {
  return selection(clauses, order, count).run();
}

bool begin_select(select_wait& w, async_timer& timer) {
  auto& self = sched::begin_task_call(sched::cancellation::point);
  return selection(w.clauses, w.order, w.count).begin(self, w, timer);
}

select_result end_select(select_wait& w, async_timer& timer) { return selection::end(w, timer); }

}  // namespace thrum::detail
