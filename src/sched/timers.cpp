// The wheel, the heap and firing.
#include "sched/timers.hpp"

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include <thrum/detail/touch.hpp>

#include "base/assert.hpp"
#include "base/cpu.hpp"
#include "os/thread.hpp"
#include "sched/park.hpp"

namespace thrum::sched {

timer_set::timer_set() noexcept = default;

bool timer_set::arm(timer& t, std::int64_t now) noexcept {
  std::lock_guard held(lock_);
  const auto count = count_.load(std::memory_order_relaxed);
  if (count == 0) tick_ = std::max(tick_, now >> tick_bits);
  count_.store(count + 1, std::memory_order_relaxed);
  t.set.store(this, std::memory_order_release);  // Pairs with cancel().
  return advance_next(place(t));
}

void timer_set::cancel(timer& t) noexcept {
  auto* set = t.set.load(std::memory_order_acquire);
  if (set) {
    std::lock_guard held(set->lock_);
    if (t.at != timer::place::nowhere) {
      set->unlink(t);
      set->count_.store(set->count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
      // next_ may now be too early: one look too many is cheaper than searching for the next at every cancel.
      if (set->count() == 0) set->next_.store(never, std::memory_order_release);
    }
  }
  // A callback that runs right now may still use the timer.
  for (int i = 0; t.firing.load(std::memory_order_acquire); ++i) i < 100 ? base::cpu_relax() : os::yield_thread();
}

void timer_set::fire_due(std::int64_t now, runnable_batch& out) noexcept {
  if (next_.load(std::memory_order_acquire) > now) return;
  std::unique_lock held(lock_);
  advance(now);
  timer* t;
  while (pop_due(now, t)) {
    count_.store(count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    if (t->who) {
      // The claim is the last access: its owner may return from its wait as soon as it has lost the episode to us.
      claim_waiter_episode(*t->who, t->episode, t->code, out);
      continue;
    }
    t->firing.store(true, std::memory_order_relaxed);
    held.unlock();
    t->callback(*t, out);
    t->firing.store(false, std::memory_order_release);  // Pairs with cancel().
    held.lock();
  }
  update_next();
}

bool timer_set::pop_due(std::int64_t now, timer*& out) noexcept {
  out = heap_.first();
  if (!out || out->when > now) return false;
  unlink(*out);
  return true;
}

std::int64_t timer_set::place(timer& t) noexcept {
  const auto tick = t.when >> tick_bits;
  if (tick - tick_ <= near_ticks) {
    t.at = timer::place::heap;
    heap_.push(t);
    return t.when;
  }
  // The level is that of the highest group of eight bits in which the tick differs from the current one, so a slot
  // is always ahead of us in the current rotation of its level.
  const auto differing = static_cast<std::uint64_t>(tick ^ tick_);
  const int level = (std::bit_width(differing) - 1) / slot_bits;
  link(t, level, tick);
  return t.when >> shift(level) << shift(level);
}

void timer_set::link(timer& t, int level, std::int64_t tick) noexcept {
  const auto slot = static_cast<unsigned>(tick >> (level * slot_bits)) % slots;
  auto& head = wheel_[static_cast<std::size_t>(level)][slot];
  t.at = timer::place::wheel;
  t.slot = static_cast<std::uint16_t>(level * slots + static_cast<int>(slot));
  t.previous = nullptr;
  t.next = head;
  t.ahead = std::exchange(linked_last_[linked_++ % prefetch_distance], &t);
  if (head) head->previous = &t;
  head = &t;
  mark(static_cast<std::size_t>(level), slot, true);
}

void timer_set::unlink(timer& t) noexcept {
  if (t.at == timer::place::heap) {
    heap_.erase(t);
  } else {
    const auto level = static_cast<std::size_t>(t.slot / slots), slot = static_cast<std::size_t>(t.slot % slots);
    if (t.next) t.next->previous = t.previous;
    if (t.previous)
      t.previous->next = t.next;
    else
      wheel_[level][slot] = t.next;
    if (!wheel_[level][slot]) mark(level, slot, false);
  }
  t.at = timer::place::nowhere;
}

void timer_set::mark(std::size_t level, std::size_t slot, bool occupied) noexcept {
  auto& word = occupied_[level][slot / 64];
  const auto bit = std::uint64_t{1} << slot % 64;
  word = occupied ? word | bit : word & ~bit;
}

// The lowest occupied slot; -1 when there is none.
int timer_set::first_occupied(std::size_t level) const noexcept {
  for (std::size_t i = 0; i < slots / 64; ++i)
    if (const auto bits = occupied_[level][i]) return static_cast<int>(i) * 64 + std::countr_zero(bits);
  return -1;
}

// The first tick at which a slot must be emptied. The lowest occupied level has it: a higher level's next slot begins
// where the lower level's rotation ends.
std::int64_t timer_set::first_slot_tick(int& level, int& slot) const noexcept {
  for (level = 0; level < levels; ++level) {
    slot = first_occupied(static_cast<std::size_t>(level));
    if (slot < 0) continue;
    const int above = (level + 1) * slot_bits;
    return (tick_ >> above << above) | (std::int64_t{slot} << (level * slot_bits));
  }
  return never >> tick_bits;
}

void timer_set::advance(std::int64_t now) noexcept {
  const auto target = now >> tick_bits;
  int level, slot;
  for (;;) {
    const auto tick = first_slot_tick(level, slot);
    if (tick > target) break;
    tick_ = std::max(tick_, tick);
    auto& head = wheel_[static_cast<std::size_t>(level)][static_cast<std::size_t>(slot)];
    timer* t = std::exchange(head, nullptr);
    mark(static_cast<std::size_t>(level), static_cast<std::size_t>(slot), false);
    while (t) {
      timer* following = t->next;
      // With many timers all of this has left the cache. Neighbours were mostly linked one after the other. The
      // waiter's turn comes within a slot's time.
      __builtin_prefetch(t->ahead);
      if (t->who) __builtin_prefetch(t->who);
      place(*t);
      t = following;
    }
  }
  tick_ = std::max(tick_, target);
}

bool timer_set::advance_next(std::int64_t look) noexcept {
  if (look >= next_.load(std::memory_order_relaxed)) return false;
  next_.store(look, std::memory_order_release);
  return true;
}

void timer_set::update_next() noexcept {
  int level, slot;
  const auto tick = first_slot_tick(level, slot);
  const auto wheel = level < levels ? tick << tick_bits : never;
  const auto heap = heap_.first() ? heap_.first()->when : never;
  next_.store(std::min(wheel, heap), std::memory_order_release);
}

// ---------------------------------------------------------------------------------------------------------------
// The heap. A node is due no later than its children, which are a list.

// Chance is asked at each such meeting, so every order can come about.
bool timer_heap::comes_first(const timer& a, const timer& b) noexcept {
  if (a.when != b.when || !chance_) [[likely]]
    return a.when < b.when;
  detail::touch(chance_);  // As in random_below().
  return chance_->next() >> 63 != 0;
}

timer* timer_heap::meld(timer* a, timer* b) noexcept {
  if (!a || !b) return a ? a : b;
  if (comes_first(*b, *a)) std::swap(a, b);
  b->previous = a;
  b->next = a->child;
  if (b->next) b->next->previous = b;
  a->child = b;
  return a;
}

// Siblings become one tree: by pairs in their order, then the pairs backwards. It is this that makes O(log n).
timer* timer_heap::meld_all(timer* first) noexcept {
  timer* pairs = nullptr;
  while (first) {
    timer* second = first->next;
    timer* rest = second ? second->next : nullptr;
    timer* pair = meld(first, second);
    pair->next = pairs;
    pairs = pair;
    first = rest;
  }
  timer* all = nullptr;
  while (pairs) {
    timer* rest = pairs->next;
    all = meld(all, pairs);
    pairs = rest;
  }
  return all;
}

void timer_heap::push(timer& t) noexcept {
  t.child = t.next = t.previous = nullptr;
  root_ = meld(root_, &t);
}

void timer_heap::erase(timer& t) noexcept {
  timer* below = meld_all(t.child);
  if (&t == root_) {
    root_ = below;
    if (root_) root_->next = root_->previous = nullptr;
    return;
  }
  (t.previous->child == &t ? t.previous->child : t.previous->next) = t.next;
  if (t.next) t.next->previous = t.previous;
  root_ = meld(root_, below);
}

}  // namespace thrum::sched
