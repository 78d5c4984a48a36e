// Views and messages.
#include "memory.hpp"

#include <algorithm>
#include <cstdlib>

namespace thrum::memory_model {
namespace {

bool acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_consume || o == std::memory_order_acq_rel ||
         o == std::memory_order_seq_cst;
}
bool releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}

}  // namespace

void memory::clear() {
  count_ = 0;
  threads_ = {};
  sequential_ = {};
  for (std::size_t i = 0; i < threads_max; ++i) step(i);
}

// From the back: a new object may lie where an older one lay.
std::size_t memory::find(const void* object) const {
  for (std::size_t i = count_; i-- > 0;)
    if (locations_[i].object == object) return i;
  return SIZE_MAX;
}

std::size_t memory::create(const void* object, std::uint64_t value) {
  if (count_ == locations_max) std::abort();  // Raise it.
  auto& l = locations_[count_];
  l.object = object;
  l.messages.clear();
  l.messages.emplace_back().value = value;
  l.order.assign(1, 0);
  l.life = {};
  l.is_destroyed = false;
  return count_++;
}

bool memory::use(std::size_t thread, std::size_t where) {
  auto& l = locations_[where];
  read_plain(thread, l.life);
  return !l.is_destroyed;
}

bool memory::destroy(std::size_t thread, std::size_t where) {
  auto& l = locations_[where];
  l.is_destroyed = true;
  return !write_plain(thread, l.life);
}

void memory::see_stores(view& v, const view& other) const {
  for (std::size_t i = 0; i < count_; ++i)
    if (other.seen[i] != v.seen[i] && rank(i, other.seen[i]) > rank(i, v.seen[i])) v.seen[i] = other.seen[i];
}

void memory::see(view& v, const view& other) const {
  see_stores(v, other);
  for (std::size_t i = 0; i < threads_max; ++i) v.before[i] = std::max(v.before[i], other.before[i]);
}

std::uint32_t memory::bound(std::size_t thread, std::size_t where, std::memory_order order) const {
  const auto own = rank(where, threads_[thread].current.seen[where]);
  return order == std::memory_order_seq_cst ? std::max(own, rank(where, sequential_.seen[where])) : own;
}

std::vector<std::uint16_t> memory::readable(std::size_t thread, std::size_t where, std::memory_order order) const {
  const auto& l = locations_[where];
  return {l.order.rbegin(), l.order.rend() - static_cast<std::ptrdiff_t>(bound(thread, where, order))};
}

std::vector<std::uint16_t> memory::places(std::size_t thread, std::size_t where, std::memory_order order) const {
  auto numbers = readable(thread, where, order);
  std::erase_if(numbers, [&](std::uint16_t n) { return at(where, n).is_followed; });
  return numbers;
}

void memory::read(std::size_t thread, std::size_t where, std::uint16_t number, std::memory_order order) {
  auto& t = threads_[thread];
  const auto& m = at(where, number);
  t.current.seen[where] = number;
  see(t.acquirable, m.released);
  if (acquires(order)) see(t.current, m.released);
}

void memory::insert(std::size_t thread, std::size_t where, std::uint16_t behind, const message& m,
                    std::memory_order order) {
  auto& l = locations_[where];
  auto& t = threads_[thread];
  const auto number = static_cast<std::uint16_t>(l.messages.size());
  const auto place = rank(where, behind) + 1;
  l.messages.push_back(m);
  l.messages.back().rank = place;
  l.order.insert(l.order.begin() + place, number);
  for (std::size_t i = place + 1; i < l.order.size(); ++i) ++l.messages[l.order[i]].rank;
  t.current.seen[where] = number;
  view released = releases(order) ? t.current : t.fenced;
  released.seen[where] = number;
  see(l.messages[number].released, released);
  if (order == std::memory_order_seq_cst && place > rank(where, sequential_.seen[where]))
    sequential_.seen[where] = number;
}

void memory::store(std::size_t thread, std::size_t where, std::uint16_t behind, std::uint64_t value,
                   std::memory_order order) {
  message m;
  m.value = value;
  insert(thread, where, behind, m, order);
}

void memory::modify(std::size_t thread, std::size_t where, std::uint16_t number, std::uint64_t value,
                    std::memory_order order) {
  message m;
  m.value = value;
  m.released = at(where, number).released;
  locations_[where].messages[number].is_followed = true;
  insert(thread, where, number, m, order);
}

void memory::fence(std::size_t thread, std::memory_order order) {
  auto& t = threads_[thread];
  if (acquires(order)) see(t.current, t.acquirable);
  if (order == std::memory_order_seq_cst) {
    see_stores(t.current, sequential_);
    see_stores(sequential_, t.current);
  }
  if (releases(order)) t.fenced = t.current;
}

// Whoever knows of the load knows of the message.
void memory::read_late(std::size_t thread, std::size_t where, std::uint16_t number, std::uint32_t when) {
  const auto raise = [&](view& v) {
    if (v.before[thread] > when && rank(where, number) > rank(where, v.seen[where])) v.seen[where] = number;
  };
  for (auto& t : threads_) {
    raise(t.current);
    raise(t.acquirable);
    raise(t.fenced);
  }
  for (std::size_t i = 0; i < count_; ++i)
    for (auto& m : locations_[i].messages) raise(m.released);
  see(threads_[thread].acquirable, at(where, number).released);
}

bool memory::read_plain(std::size_t thread, plain_history& h) const {
  const auto& before = threads_[thread].current.before;
  h.read[thread] = before[thread];
  return h.written > before[h.writer];
}

bool memory::write_plain(std::size_t thread, plain_history& h) const {
  const auto& before = threads_[thread].current.before;
  bool races = h.written > before[h.writer];
  for (std::size_t i = 0; i < threads_max; ++i) races = races || h.read[i] > before[i];
  h.writer = thread;
  h.written = before[thread];
  return races;
}

void memory::begin(std::size_t thread, std::size_t by) {
  see(threads_[thread].current, threads_[by].current);
  step(by);
}

void memory::end(std::size_t thread, std::size_t by) { see(threads_[by].current, threads_[thread].current); }

void memory::freshen(std::size_t thread) {
  for (std::size_t i = 0; i < count_; ++i) threads_[thread].current.seen[i] = locations_[i].order.back();
}

}  // namespace thrum::memory_model
