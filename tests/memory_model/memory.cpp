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
  locations_.clear();
  threads_ = {};
  sequential_ = {};
  for (std::size_t i = 0; i < threads_max; ++i) step(i);
}

// From the back: a new object may lie where an older one lay.
std::size_t memory::find(const void* object) const {
  for (std::size_t i = locations_.size(); i-- > 0;)
    if (locations_[i].object == object) return i;
  return SIZE_MAX;
}

std::size_t memory::create(const void* object, std::uint64_t value) {
  if (locations_.size() == locations_max) std::abort();  // Raise it.
  location l{object, {}, {0}};
  message initial;
  initial.value = value;
  l.messages.push_back(initial);
  locations_.push_back(l);
  return locations_.size() - 1;
}

void memory::see_stores(view& v, const view& other) const {
  for (std::size_t i = 0; i < locations_.size(); ++i)
    if (rank(i, other.seen[i]) > rank(i, v.seen[i])) v.seen[i] = other.seen[i];
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

void memory::insert(std::size_t thread, std::size_t where, std::uint16_t behind, message m, std::memory_order order) {
  auto& l = locations_[where];
  auto& t = threads_[thread];
  const auto number = static_cast<std::uint16_t>(l.messages.size());
  m.rank = rank(where, behind) + 1;
  l.messages.push_back(m);
  l.order.insert(l.order.begin() + m.rank, number);
  for (std::size_t i = m.rank + 1; i < l.order.size(); ++i) ++l.messages[l.order[i]].rank;
  t.current.seen[where] = number;
  view released = releases(order) ? t.current : t.fenced;
  released.seen[where] = number;
  see(l.messages[number].released, released);
  if (order == std::memory_order_seq_cst && m.rank > rank(where, sequential_.seen[where]))
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

void memory::begin(std::size_t thread) {
  see(threads_[thread].current, threads_[0].current);
  step(0);
}

void memory::end(std::size_t thread) { see(threads_[0].current, threads_[thread].current); }

void memory::freshen(std::size_t thread) {
  for (std::size_t i = 0; i < locations_.size(); ++i) threads_[thread].current.seen[i] = locations_[i].order.back();
}

}  // namespace thrum::memory_model
