// Channels; the invariants are in channel_core.hpp.
#include "chan/channel_core.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

using sched::claim_code;
using sched::claimed_waiter;
using sched::wait_node;

// The ring's memory follows the core.
std::size_t ring_offset(const element_type& type) noexcept {
  return (sizeof(channel_core) + type.align - 1) / type.align * type.align;
}
std::align_val_t alignment(const element_type& type) noexcept {
  return std::align_val_t{std::max(type.align, alignof(channel_core))};
}

[[gnu::always_inline]] inline claimed_waiter claim(wait_node& n) noexcept {
  sched::waiter* who = n.who;
  const auto r = who->claim(n.code);
  if (r == sched::claim_result::too_late) return {};
  return {who, r == sched::claim_result::resume ? who : nullptr};
}

constexpr sched::wait_kind awaited_null{.what = "a null channel", .hopeless = true};

bool others_wait(const wait_list& list, const sched::waiter& who) noexcept {
  const wait_node* n = list.first;
  while (n && n->who == &who) n = n->next;
  return n != nullptr;
}

const char* could_send(const void* core, const sched::waiter& who) noexcept {
  static constexpr const char* words[] = {nullptr, "which is closed", "which has room", "from which somebody receives"};
  return words[static_cast<std::size_t>(static_cast<const channel_core*>(core)->to_send(who))];
}
const char* could_receive(const void* core, const sched::waiter& who) noexcept {
  static constexpr const char* words[] = {nullptr, "which is closed", "which has an element",
                                          "on which somebody sends"};
  return words[static_cast<std::size_t>(static_cast<const channel_core*>(core)->to_receive(who))];
}

constexpr sched::wait_kind awaited_receiver{.what = "sending on a channel", .could_go_on = &could_send};
constexpr sched::wait_kind awaited_sender{.what = "receiving from a channel", .could_go_on = &could_receive};

// A null channel: only the deadline or cancellation ends the wait.
channel_result wait_for_ever(std::int64_t deadline_ns) {
  if (deadline_ns == only_try) {
    if (sched::call_is_cancelled()) throw cancelled{};
    return channel_result::would_block;
  }
  sched::wait_for_time(deadline_ns, {&awaited_null});
  return channel_result::timed_out;
}

// Throws in a cancelled scope, also for an operation that would not have to wait.
[[gnu::always_inline]] inline sched::waiter* begin(std::int64_t deadline_ns) {
  const auto call =
      deadline_ns == only_try ? sched::begun_call{nullptr, sched::call_is_cancelled()} : sched::begin_call();
  if (call.cancelled) [[unlikely]]
    throw cancelled{};
  return call.who;
}

// Parks the caller in `list`, whose lock is held; releases the lock.
[[gnu::always_inline]] inline channel_result park(sched::waiter* self, channel_core& c, wait_list& list, void* element,
                                                  std::int64_t deadline_ns, const sched::wait_kind& kind) {
  claim_code code;
  {
    sched::waiting w({self, false}, sched::cancellation::point);
    wait_node node(w, element);
    w.open();
    push_back(list, node);
    c.lock.unlock();
    code = w.park(deadline_ns, {&kind, &c});
    if (code == claim_code::first_clause) return channel_result::done;
    if (code == closed_code(claim_code::first_clause)) return channel_result::closed;
    std::lock_guard held(c.lock);
    if (node.linked) sched::remove(list, node);
  }
  sched::throw_if_cancelled(code);
  return channel_result::timed_out;
}

// Releases the lock. Others may take the room before us.
channel_result send_where_room_is_made(channel_core& c, void* element) {
  claimed_waiter wake;
  channel_result r;
  do {
    c.lock.unlock();
    c.make_room();
    c.lock.lock();
    r = c.try_send(element, wake);
  } while (r == channel_result::would_block);
  c.lock.unlock();
  finish_wake(wake);
  return r;
}

}  // namespace

channel_core::chance channel_core::to_send(const sched::waiter& who) const noexcept {
  std::lock_guard held(lock);
  if (closed) return chance::closed;
  if (count < capacity) return chance::in_ring;
  return others_wait(receivers, who) ? chance::partner : chance::none;
}
channel_core::chance channel_core::to_receive(const sched::waiter& who) const noexcept {
  std::lock_guard held(lock);
  if (count > 0) return chance::in_ring;
  if (closed) return chance::closed;
  return others_wait(senders, who) ? chance::partner : chance::none;
}

channel_core::~channel_core() {
  THRUM_ASSERT(senders.empty() && receivers.empty());
  if (unbounded())
    segments().destroy_all(type, count);
  else
    for (std::size_t i = 0; i < count; ++i) destroy(slot(head + i));
}

// The sizes of most plain elements are known to the compiler here; others take the general way.
[[gnu::always_inline]] inline void channel_core::move(void* to, void* from) const noexcept {
  if (!type.bytes) return type.move(to, from);
  if (type.size == 4)
    std::memcpy(to, from, 4);
  else if (type.size == 8)
    std::memcpy(to, from, 8);
  else
    std::memcpy(to, from, type.size);
}

// Puts a moved element back where it came from.
void channel_core::undo_move(void* from, void* to) const noexcept {
  destroy(from);
  move(from, to);
  destroy(to);
}

[[gnu::always_inline]] inline claimed_waiter channel_core::give(wait_node& receiver, void* element) noexcept {
  move(receiver.slot, element);
  const auto r = claim(receiver);
  if (!r.who) undo_move(element, receiver.slot);
  return r;
}

[[gnu::always_inline]] inline claimed_waiter channel_core::take(wait_node& sender, void* into) noexcept {
  move(into, sender.slot);
  const auto r = claim(sender);
  if (!r.who) undo_move(sender.slot, into);
  return r;
}

[[gnu::always_inline]] inline channel_result channel_core::try_send_here(void* element, claimed_waiter& wake) noexcept {
  if (closed) return channel_result::closed;
  while (wait_node* n = receivers.first) {
    sched::remove(receivers, *n);
    wake = give(*n, element);
    if (wake.who) return channel_result::done;
  }
  if (unbounded()) [[unlikely]]
    return push_unbounded(element);
  const std::size_t held = count;
  if (held == capacity) return channel_result::would_block;
  move(slot(head + held), element);
  count = held + 1;
  return channel_result::done;
}

[[gnu::always_inline]] inline bool channel_core::take_from_sender(void* into, claimed_waiter& wake) noexcept {
  while (wait_node* n = senders.first) {
    sched::remove(senders, *n);
    wake = take(*n, into);
    if (wake.who) return true;
  }
  return false;
}

// Of a bounded channel; the caller counts.
[[gnu::always_inline]] inline void channel_core::pop(void* into) noexcept {
  void* first = slot(head);
  move(into, first);
  destroy(first);
  head = head + 1 == capacity ? 0 : head + 1;
}

[[gnu::always_inline]] inline channel_result channel_core::try_receive_here(void* into, claimed_waiter& wake) noexcept {
  if (const std::size_t held = count; held > 0) {
    if (unbounded()) [[unlikely]] {
      pop_unbounded(into);
      return channel_result::done;
    }
    pop(into);
    // A waiting sender's element takes the place that has become free.
    if (!senders.first || !take_from_sender(slot(head + held - 1), wake)) count = held - 1;
    return channel_result::done;
  }
  if (take_from_sender(into, wake)) return channel_result::done;
  return closed ? channel_result::closed : channel_result::would_block;
}

channel_result channel_core::try_send(void* element, claimed_waiter& wake) noexcept {
  return try_send_here(element, wake);
}
channel_result channel_core::try_receive(void* into, claimed_waiter& wake) noexcept {
  return try_receive_here(into, wake);
}

channel_core* make_channel(const element_type& type, std::size_t capacity) {
  if (capacity > (SIZE_MAX / 4 - sizeof(channel_core)) / type.size)
    throw std::length_error("thrum: a channel of that capacity exceeds the address space");
  void* memory = ::operator new(ring_offset(type) + capacity * type.size, alignment(type));
  return new (memory) channel_core(type, capacity, static_cast<std::byte*>(memory) + ring_offset(type));
}

void retain(channel_core* c) noexcept {
  if (c) c->references.fetch_add(1, std::memory_order_relaxed);
}

void release(channel_core* c) noexcept {
  // acq_rel: the last holder sees everybody's use of the channel.
  if (!c || c->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const auto align = alignment(c->type);
  c->~channel_core();
  ::operator delete(c, align);
}

bool channel_take(channel_core* c, void* into) noexcept {
  claimed_waiter wake;
  c->lock.lock();
  const auto r = c->try_receive(into, wake);
  const bool drained = c->has_drained();
  c->lock.unlock();
  finish_wake(wake);
  if (drained) c->give_back();
  return r == channel_result::done;
}

channel_result channel_send(channel_core* c, void* element, std::int64_t deadline_ns) {
  if (!c) return wait_for_ever(deadline_ns);
  sched::waiter* self = begin(deadline_ns);
  claimed_waiter wake;
  c->lock.lock();
  const auto r = c->try_send_here(element, wake);
  if (r == channel_result::would_block && c->unbounded()) return send_where_room_is_made(*c, element);
  if (r == channel_result::would_block && deadline_ns != only_try)
    return park(self, *c, c->senders, element, deadline_ns, awaited_receiver);
  c->lock.unlock();
  finish_wake(wake);
  return r;
}

channel_result channel_receive(channel_core* c, void* into, std::int64_t deadline_ns) {
  if (!c) return wait_for_ever(deadline_ns);
  sched::waiter* self = begin(deadline_ns);
  claimed_waiter wake;
  c->lock.lock();
  const auto r = c->try_receive_here(into, wake);
  if (r == channel_result::would_block && deadline_ns != only_try)
    return park(self, *c, c->receivers, into, deadline_ns, awaited_sender);
  const bool drained = c->has_drained();
  c->lock.unlock();
  finish_wake(wake);
  if (drained) [[unlikely]]
    c->give_back();
  return r;
}

channel_result channel_take(channel_core& c, void* into) noexcept {
  claimed_waiter wake;
  c.lock.lock();
  const auto r = c.try_receive(into, wake);
  const bool drained = c.has_drained();
  c.lock.unlock();
  finish_wake(wake);
  if (drained) c.give_back();
  return r;
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks.

namespace {

bool begin_waiting_for_ever(sched::task_control& self, channel_wait& w, async_timer* timer, std::int64_t deadline_ns) {
  self.open_episode(true);
  w.waiting = true;
  park_task(self, {&awaited_null}, deadline_ns, timer);
  return false;
}

// Enqueues the task in `list`, whose lock is held; releases the lock.
bool begin_parking(sched::task_control& self, channel_wait& w, wait_list& list, void* element, async_timer* timer,
                   std::int64_t deadline_ns, const sched::wait_kind& kind) {
  channel_core& c = *w.core;
  w.waiting = true;
  enqueue(self, w.node, list, sched::cancellation::point, element);
  c.lock.unlock();
  park_task(self, {&kind, &c}, deadline_ns, timer);
  return false;
}

// Releases the lock.
bool done_at_once(channel_wait& w, channel_result r, const claimed_waiter& wake) {
  const bool drained = w.core->has_drained();
  w.core->lock.unlock();
  finish_wake(wake);
  if (drained) [[unlikely]]
    w.core->give_back();
  w.result = r;
  return sched::go_on();
}

}  // namespace

bool begin_channel_send(channel_wait& w, void* element, async_timer* timer, std::int64_t deadline_ns) {
  auto& self = sched::begin_task_call(sched::cancellation::point);
  channel_core* c = w.core;
  if (!c) return begin_waiting_for_ever(self, w, timer, deadline_ns);
  w.sending = true;
  claimed_waiter wake;
  c->lock.lock();
  const auto r = c->try_send_here(element, wake);
  if (r != channel_result::would_block) return done_at_once(w, r, wake);
  if (c->unbounded()) {
    w.result = send_where_room_is_made(*c, element);
    return sched::go_on();
  }
  return begin_parking(self, w, c->senders, element, timer, deadline_ns, awaited_receiver);
}

bool begin_channel_receive(channel_wait& w, void* into, async_timer* timer, std::int64_t deadline_ns) {
  auto& self = sched::begin_task_call(sched::cancellation::point);
  channel_core* c = w.core;
  if (!c) return begin_waiting_for_ever(self, w, timer, deadline_ns);
  claimed_waiter wake;
  c->lock.lock();
  const auto r = c->try_receive_here(into, wake);
  if (r != channel_result::would_block) return done_at_once(w, r, wake);
  return begin_parking(self, w, c->receivers, into, timer, deadline_ns, awaited_sender);
}

channel_result end_channel(channel_wait& w, async_timer* timer) {
  if (!w.waiting) return w.result;
  const auto code = sched::end_parking(timer);
  if (code == claim_code::first_clause) return channel_result::done;
  if (code == closed_code(claim_code::first_clause)) return channel_result::closed;
  if (channel_core* c = w.core) {
    std::lock_guard held(c->lock);
    if (auto& node = sched::node_in(w.node); node.linked) sched::remove(w.sending ? c->senders : c->receivers, node);
  }
  sched::throw_if_cancelled(code);
  return channel_result::timed_out;
}

// ---------------------------------------------------------------------------------------------------------------

bool channel_close(channel_core* c) {
  sched::runnable_batch batch;
  {
    std::lock_guard held(c->lock);
    if (c->closed) return false;
    c->closed = true;
    for (auto* list : {&c->receivers, &c->senders}) {
      while (wait_node* n = list->first) {
        sched::remove(*list, *n);
        sched::claim_waiter(*n->who, closed_code(n->code), batch);
      }
    }
  }
  sched::make_runnable(batch);
  return true;
}

bool channel_closed(const channel_core* c) noexcept {
  if (!c) return false;
  std::lock_guard held(c->lock);
  return c->closed;
}

std::size_t channel_size(const channel_core* c) noexcept {
  if (!c) return 0;
  std::lock_guard held(c->lock);
  return c->count;
}

std::size_t channel_capacity(const channel_core* c) noexcept { return c ? c->capacity : 0; }

}  // namespace thrum::detail
