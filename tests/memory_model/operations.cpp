// What the operations of atomics, plain objects, fences and futexes do.
#include <algorithm>

#include "memory_model/engine.hpp"

namespace thrum::memory_model {

void engine::finish_step() {
  if (!late_.may_go_on(current_)) discard();
  memory_.step(current_);
}

bool engine::mutated(operation what, const site& s, mutation::kind how) {
  if (mutations_.change().how != how || !mutations_.hits(what, s)) return false;
  ++outcome_.mutated;
  return true;
}

std::memory_order engine::weakened(operation what, std::memory_order o, const site& s) {
  return o != std::memory_order_relaxed && mutated(what, s, mutation::kind::weakened) ? std::memory_order_relaxed : o;
}

std::size_t engine::place_of(const void* object, std::uint64_t plain) {
  const auto found = memory_.find(object);
  const auto where = found == SIZE_MAX ? memory_.create(object, plain) : found;
  if (!late_.may_touch(current_, where)) discard();
  if (!memory_.use(current_, where)) fail("an atomic is used that has been destroyed");
  return where;
}

void engine::destroyed(const void* object) {
  const auto where = memory_.find(object);
  if (where != SIZE_MAX && !memory_.destroy(current_, where)) fail("an atomic is destroyed that others may still use");
}

std::uint16_t engine::choose_read(const std::vector<std::uint16_t>& readable, std::size_t where) {
  const auto number = readable[stale_left_ > 0 ? chooser_.which_message(readable.size()) : 0];
  if (!memory_.is_newest(where, number)) --stale_left_;
  return number;
}

void engine::read_now(event& e, std::uint16_t number) {
  if (!late_.may_read(current_, e.where, number)) discard();
  memory_.read(current_, e.where, number, e.order);
  e.read = memory_.at(e.where, number).value;
  e.stale = !memory_.is_newest(e.where, number);
}

void engine::read_or_wait(event& e) {
  const auto readable = memory_.readable(current_, e.where, e.order);
  const auto count = stale_left_ > 0 ? readable.size() : 1;
  std::shared_ptr<late_load> load;
  const auto which = chooser_.which_message(count, load);
  if (which >= count) {
    e.read = late_.guess(current_, e.where, load, which - count);
    e.late = true;
    return;
  }
  if (!memory_.is_newest(e.where, readable[which])) --stale_left_;
  late_.read(current_, e.where, readable[which], load);
  read_now(e, readable[which]);
}

void engine::read(event& e) {
  if (late_.may_wait(current_, e.order)) return read_or_wait(e);
  read_now(e, choose_read(memory_.readable(current_, e.where, e.order), e.where));
}

// The failure of which nobody could be certain may have become one.
void engine::stored(const event& e) {
  late_.stored(current_, {e.what, e.where, e.read, e.stored});
  if (!failure_.empty() && !late_.any_open()) fail({});
}

std::uint64_t engine::load(const void* object, std::uint64_t plain, std::memory_order o, const site& s) {
  step();
  event e{current_, operation::load, weakened(operation::load, o, s), place_of(object, plain)};
  e.at = s;
  if (mutated(operation::load, s, mutation::kind::left_out)) {
    e.read = mutations_.change().value;
    e.changed = true;
  } else {
    read(e);
    e.changed = e.order != o;
  }
  events_.push_back(e);
  finish_step();
  return e.read;
}

void engine::store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s) {
  step();
  event e{current_, operation::store, weakened(operation::store, o, s), place_of(object, plain)};
  e.at = s;
  e.stored = value;
  e.changed = e.order != o;
  const bool left_out = mutated(operation::store, s, mutation::kind::left_out);
  if (left_out) {
    e.changed = true;
  } else {
    const auto places = memory_.places(current_, e.where, e.order);
    const auto behind = places[chooser_.which_message(places.size())];
    e.stale = !memory_.is_newest(e.where, behind);
    memory_.store(current_, e.where, behind, value, e.order);
  }
  events_.push_back(e);
  if (!left_out) stored(e);
  finish_step();
}

std::uint64_t engine::modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                             std::memory_order failure, const site& s) {
  step();
  event e{current_, operation::modify, weakened(operation::modify, success, s), place_of(object, plain)};
  e.at = s;
  e.changed = e.order != success;
  // A message that is followed by another modification can be read, but not be modified once more.
  auto readable = memory_.readable(current_, e.where, e.order);
  std::erase_if(readable, [&](std::uint16_t n) {
    return memory_.at(e.where, n).is_followed && change(memory_.at(e.where, n).value, e.stored);
  });
  const auto number = choose_read(readable, e.where);
  bool stores = change(memory_.at(e.where, number).value, e.stored);
  if (!stores) {
    e.what = operation::load;
    e.order = e.changed ? std::memory_order_relaxed : failure;
  }
  read_now(e, number);
  if (stores && mutated(operation::modify, s, mutation::kind::left_out)) {
    stores = false;
    e.changed = true;
  }
  if (stores) memory_.modify(current_, e.where, number, e.stored, e.order);
  events_.push_back(e);
  if (stores) stored(e);
  finish_step();
  return e.read;
}

bool engine::fails_spuriously() {
  if (current_ == 0 || (spurious_left_ == 0 && !chooser_.draws()) || !chooser_.fails()) return false;
  --spurious_left_;
  return true;
}

// Of a thread that waits for what one of its loads has read it would be too early.
void engine::fence_of(std::size_t thread, std::memory_order o) {
  if (late_.is_open(thread) && o != std::memory_order_release && o != std::memory_order_relaxed) discard();
  memory_.fence(thread, o);
}

void engine::fence(std::memory_order o, const site& s) {
  step();
  event e{current_, operation::fence, weakened(operation::fence, o, s)};
  e.at = s;
  e.changed = e.order != o;
  if (mutated(operation::fence, s, mutation::kind::left_out))
    e.changed = true;
  else
    fence_of(current_, e.order);
  events_.push_back(e);
  finish_step();
}

// A fence in every thread, one after the other, while they go on.
void engine::membarrier(const site& s) {
  const auto self = current_;
  event e{self, operation::membarrier, std::memory_order_seq_cst};
  e.at = s;
  e.changed = mutated(operation::membarrier, s, mutation::kind::left_out);
  events_.push_back(e);
  if (e.changed) return;
  fence_of(self, std::memory_order_seq_cst);
  for (std::size_t i = 1; i < count_; ++i) {
    step();
    fence_of(i, std::memory_order_seq_cst);
    memory_.step(i);
  }
  fence_of(self, std::memory_order_seq_cst);
  finish_step();
}

bool engine::wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s) {
  step();
  event e{current_, operation::wait, std::memory_order_relaxed, memory_.find(object)};
  e.at = s;
  if (e.where == SIZE_MAX) fail("a wait on a word that nobody has touched");
  if (!memory_.use(current_, e.where)) fail("a wait on a word that has been destroyed");
  fence_of(current_, std::memory_order_seq_cst);
  read_now(e, choose_read(memory_.readable(current_, e.where, e.order), e.where));
  e.order = std::memory_order_seq_cst;
  e.stale = false;
  e.stored = expected;
  events_.push_back(e);
  auto& self = threads_[current_];
  self.timed_out = false;
  if (static_cast<std::uint32_t>(e.read) == expected) {
    self.is = condition::asleep;
    self.sleeps_on = object;
    self.may_time_out = may_time_out;
    leave();
  }
  finish_step();
  return !self.timed_out;
}

void engine::wake(const void* object, int count, const site& s) {
  step();
  event e{current_, operation::wake, std::memory_order_seq_cst, memory_.find(object)};
  e.at = s;
  events_.push_back(e);
  fence_of(current_, std::memory_order_seq_cst);
  for (std::size_t i = 1; i < count_ && count > 0; ++i) {
    if (threads_[i].is != condition::asleep || threads_[i].sleeps_on != object) continue;
    threads_[i].is = condition::ready;
    --count;
  }
  finish_step();
}

void engine::access_plain(plain_history& h, bool write, const site& s) {
  if (write ? !memory_.write_plain(current_, h) : !memory_.read_plain(current_, h)) return;
  fail(std::string("a race: ") + threads_[current_].name + (write ? " writes" : " reads") + " a plain object, in " +
       s.function_name());
}

}  // namespace thrum::memory_model
