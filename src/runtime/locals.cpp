// fiber_local, context_value, and the guest (guest.hpp) that a fiber belongs to: one block per fiber that has any,
// behind one pointer in its control block.
//
// The block is the fiber's own, so nothing here is locked. Values of fiber_local form a list, the newest first, which
// is also the order in which they are destroyed. Bindings form a tree that fibers share: each block holds a reference
// to its innermost binding, and each binding one to the binding around it.
#include "runtime/locals.hpp"

#include <memory>
#include <utility>

#include <thrum/context_value.hpp>
#include <thrum/fiber_local.hpp>

#include "base/assert.hpp"
#include "runtime/guest.hpp"
#include "sched/wait.hpp"

namespace thrum::detail {
namespace {

struct locals_block : sched::activity_locals {
  local_value* newest = nullptr;
  context_node* innermost = nullptr;
  guest* family = nullptr;
};

std::atomic<std::uint64_t> next_number{1};

// Not recursive: fibers that bind and start the next, generation after generation, make chains of any length.
void release(context_node* n) noexcept {
  // Acquire-release: whoever destroys it comes after everybody's last look at it.
  while (n && n->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete std::exchange(n, n->outer);
}

// Destructors of values may use fiber_locals, and so make further values.
void end_block(sched::activity_locals*& slot) noexcept {
  auto* block = static_cast<locals_block*>(slot);
  while (block->newest || block->innermost)
    if (auto* v = block->newest) {
      block->newest = v->older;
      delete v;
    } else {
      release(std::exchange(block->innermost, nullptr));
    }
  slot = nullptr;
  guest* const family = block->family;
  delete block;
  if (family) family->leave();
}

sched::activity_locals*& my_slot() noexcept {
  auto* f = sched::current_activity();
  return f ? f->locals : slot_of_thread();
}

void describe_block(const sched::activity_locals& slot) noexcept {
  report_labels(static_cast<const locals_block&>(slot).innermost);
}

locals_block* my_block() noexcept { return static_cast<locals_block*>(my_slot()); }

// The thread's waiter is asked for first, and so given back last: destructors of values may wait.
[[gnu::noinline]] void end_with_the_thread() noexcept {
  sched::task_or_thread_waiter();
  struct thread_end {
    ~thread_end() {
      auto& slot = slot_of_thread();
      if (slot) slot->end(slot);
    }
  };
  static thread_local thread_end until_the_thread_ends;
  (void)&until_the_thread_ends;
}

locals_block& make_my_block() {
  auto& slot = my_slot();
  if (!slot) {
    if (!sched::current_activity()) end_with_the_thread();
    slot = new locals_block{{&end_block, &describe_block}};
  }
  return static_cast<locals_block&>(*slot);
}

// The link that points to the value of this key, or the last one.
local_value** link_to(locals_block& block, std::uint64_t key) noexcept {
  local_value** link = &block.newest;
  while (*link && (*link)->key != key) link = &(*link)->older;
  return link;
}

}  // namespace

// Out of line: no fiber asks for it, so that its address is never carried across a switch.
[[gnu::noinline]] sched::activity_locals*& slot_of_thread() noexcept {
  static thread_local sched::activity_locals* slot = nullptr;
  return slot;
}

std::uint64_t local_key::draw_number() const noexcept {
  std::uint64_t n = 0;
  const auto drawn = next_number.fetch_add(1, std::memory_order_relaxed);
  return number_.compare_exchange_strong(n, drawn, std::memory_order_relaxed) ? drawn : n;
}

local_value* find_local(const local_key& key) noexcept {
  auto* block = my_block();
  return block ? *link_to(*block, key.number()) : nullptr;
}

void add_local(local_value* v) {
  std::unique_ptr<local_value> owned(v);
  auto& block = make_my_block();
  v->older = block.newest;
  block.newest = owned.release();
}

void drop_local(const local_key& key) noexcept {
  auto* block = my_block();
  if (!block) return;
  local_value** link = link_to(*block, key.number());
  local_value* v = *link;
  if (!v) return;
  *link = v->older;
  delete v;
}

const context_node* find_context(const local_key& key) noexcept {
  const auto* block = my_block();
  const auto* n = block ? block->innermost : nullptr;
  while (n && n->key != key.number()) n = n->outer;
  return n;
}

void enter_context(context_node* n) {
  std::unique_ptr<context_node> owned(n);
  auto& block = make_my_block();
  n->outer = block.innermost;
  block.innermost = owned.release();
}

void leave_context(context_node* n) noexcept {
  auto* block = my_block();
  if (!block || block->innermost != n)
    base::panic("a context_value ends out of order, or not in the fiber that made it");
  if (n->outer) n->outer->references.fetch_add(1, std::memory_order_relaxed);
  block->innermost = n->outer;
  release(n);
}

void inherit_locals(const sched::activity_locals& creator, sched::activity& a) {
  const auto& from = static_cast<const locals_block&>(creator);
  auto* const family = from.family && from.family->is_guest_of(*a.home) ? from.family : nullptr;
  if (!from.innermost && !family) return;
  auto block = std::make_unique<locals_block>(locals_block{{&end_block, &describe_block}});
  if (family) family->admit(a);
  block->family = family;
  block->innermost = from.innermost;
  if (from.innermost) from.innermost->references.fetch_add(1, std::memory_order_relaxed);
  a.locals = block.release();
}

guest* guest_of(const sched::activity& a) noexcept {
  return a.locals ? static_cast<const locals_block*>(a.locals)->family : nullptr;
}

guest* set_my_guest(guest* g) { return std::exchange(make_my_block().family, g); }

}  // namespace thrum::detail
