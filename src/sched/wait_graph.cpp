// The two steps of the proof, and the words for what it has found.
#include "sched/wait_graph.hpp"

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>

#include "sched/inspection.hpp"

namespace thrum::sched {
namespace {

using verdict = finding::verdict;

// Under inspection, or of oneself.
const wait_reason& reason_of(const waiter& w) noexcept {
  if (w.kind() == waiter_kind::thread) return static_cast<const thread_waiter&>(w).reason();
  return static_cast<const activity&>(w).reason;
}

bool is_open(const waiter& w) noexcept { return waiter::code_of(w.word()) == claim_code::open; }

// Those without whom the wait does not end.
std::vector<const waiter*> needed_for(const wait_reason& reason) {
  std::vector<const waiter*> all;
  if (reason.kind->holder)
    if (const waiter* holder = reason.kind->holder(reason.object)) all.push_back(holder);
  if (!reason.kind->needed) return all;
  auto& above = *reason.kind->needed(reason.object);
  std::lock_guard held(above.lock);
  for (const auto* node = above.first_child; node; node = node->next)
    if (node->owner != above.owner) all.push_back(node->owner);
  return all;
}

blocked identity_of(const waiter& w) {
  if (w.kind() == waiter_kind::thread)
    return {.what = blocked::kind::thread,
            .id = static_cast<std::uint64_t>(static_cast<const thread_waiter&>(w).tid())};
  const auto& a = static_cast<const activity&>(w);
  blocked b{.what = a.is_fiber() ? blocked::kind::fiber : blocked::kind::task,
            .id = a.id.load(std::memory_order_relaxed),
            .where = a.where.load(std::memory_order_relaxed)};
  if (a.is_fiber()) b.name = static_cast<const fiber_control&>(a).name.get().data();
  return b;
}

// Under inspection.
blocked describe_wait(const waiter& w) {
  auto b = identity_of(w);
  const auto& reason = reason_of(w);
  b.waits_for = reason.kind->what;
  b.object = reason.shown();
  // Nobody cancels a plain thread.
  b.cancellable = w.kind() != waiter_kind::thread && (w.word() & waiter::cancellable_bit) != 0;
  return b;
}

}  // namespace

wait_graph::wait_graph(scheduler& home) : home_(home) {
  home.for_each_alive([this](activity& a) { look_at(a); });
  thread_waiter::for_each([this](thread_waiter& t) { look_at(t); });
  std::sort(nodes_.begin(), nodes_.end(), [](const node& a, const node& b) { return std::less<>()(a.who, b.who); });
  std::sort(waits_.begin(), waits_.end(), [](const wait& a, const wait& b) { return std::less<>()(a.who, b.who); });
}

void wait_graph::look_at(waiter& w) {
  const inspection held(w);
  if (!held) return;
  const auto word = w.word();
  const auto& reason = reason_of(w);
  if (waiter::code_of(word) != claim_code::open || (word & waiter::timed_bit) || reason.kind->external) return;
  if (w.kind() != waiter_kind::thread) {
    auto& a = static_cast<activity&>(w);
    waits_.push_back({&a, a.id.load(std::memory_order_relaxed), waiter::number_of(word)});
  }
  auto needs = needed_for(reason);
  if (needs.empty() && !reason.kind->hopeless) return;
  nodes_.push_back({&w, waiter::number_of(word), reason, std::move(needs)});
}

wait_graph::node* wait_graph::find(const waiter* w) noexcept {
  const auto before = [](const node& n, const waiter* other) { return std::less<>()(n.who, other); };
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), w, before);
  return at != nodes_.end() && at->who == w ? &*at : nullptr;
}

std::vector<finding> wait_graph::prove() {
  for (auto& n : nodes_)
    if (n.seen == node::mark::unseen) search_from(n);
  find_abandoned();
  find_hopeless();
  find_those_behind();
  return std::move(findings_);
}

// Depth first. Whom a node on the path needs, and who is on the path itself, closes a cycle.
void wait_graph::search_from(node& start) {
  std::vector<node*> path{&start};
  std::vector<std::size_t> next{0};  // Of each on the path: whom of those it needs to look at next.
  start.seen = node::mark::on_path;
  while (!path.empty()) {
    node& n = *path.back();
    if (next.back() == n.needs.size()) {
      n.seen = node::mark::done;
      order_.push_back(&n);
      path.pop_back();
      next.pop_back();
      continue;
    }
    node* const needed = find(n.needs[next.back()++]);
    if (!needed || needed->seen == node::mark::done) continue;
    if (needed->seen == node::mark::on_path) {
      confirm_cycle({std::find(path.begin(), path.end(), needed), path.end()});
    } else {
      needed->seen = node::mark::on_path;
      path.push_back(needed);
      next.push_back(0);
    }
  }
}

void wait_graph::confirm_cycle(std::span<node* const> cycle) {
  if (cycle.size() < 2) return;  // To whom a lock is being handed over.
  if (std::any_of(cycle.begin(), cycle.end(), [](const node* n) { return n->finding != none; })) return;
  std::vector<inspection> held;
  held.reserve(cycle.size());
  for (const node* n : cycle)
    if (!held.emplace_back(*n->who) || waiter::number_of(n->who->word()) != n->episode) return;
  finding f{.what = verdict::deadlock};
  for (std::size_t i = 0; i < cycle.size(); ++i) {
    const auto needs = needed_for(cycle[i]->reason);
    if (std::find(needs.begin(), needs.end(), cycle[(i + 1) % cycle.size()]->who) == needs.end()) return;
    f.members.push_back(describe_wait(*cycle[i]->who));
  }
  if (!std::all_of(cycle.begin(), cycle.end(), [](const node* n) { return is_open(*n->who); })) return;
  for (node* n : cycle) n->finding = findings_.size();
  findings_.push_back(std::move(f));
}

// It is in the same wait as before, and nobody who is not stuck can end that.
bool wait_graph::confirm_alone(const node& n, blocked& out) const {
  const inspection held(*n.who);
  if (!held || waiter::number_of(n.who->word()) != n.episode) return false;
  out = describe_wait(*n.who);
  if (n.reason.kind->hopeless) return is_open(*n.who);
  return stuck_among(needed_for(n.reason)) != none && is_open(*n.who);
}

// The finding that one of them is in.
std::size_t wait_graph::stuck_among(const std::vector<const waiter*>& all) const noexcept {
  for (const waiter* w : all)
    if (const node* n = find(w); n && n->finding != none) return n->finding;
  return none;
}

void wait_graph::find_hopeless() {
  for (auto& n : nodes_) {
    blocked b;
    if (!n.reason.kind->hopeless || !confirm_alone(n, b)) continue;
    n.finding = findings_.size();
    findings_.push_back({.what = verdict::hopeless, .members = {std::move(b)}});
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Locks whose holder has ended.

std::vector<wait_graph::ended_holder> wait_graph::holders_that_have_ended() {
  std::vector<const waiter*> running;  // Or ended: holders that do not wait.
  for (const auto& n : nodes_)
    if (n.reason.kind->is_lock && !find(n.needs.front())) running.push_back(n.needs.front());
  std::vector<ended_holder> ended;
  if (running.empty()) return ended;
  std::sort(running.begin(), running.end(), std::less<>());
  const auto is_holder = [&](const waiter& w) {
    return std::binary_search(running.begin(), running.end(), &w, std::less<>());
  };
  const auto look_at_block = [&](const activity& a) {
    if (is_holder(a) && !a.alive()) ended.push_back({&a, a.id.load(std::memory_order_relaxed)});
  };
  home_.fibers().for_each(look_at_block);
  home_.tasks().for_each(look_at_block);
  thread_waiter::for_each([&](const thread_waiter& t) {
    if (is_holder(t) && t.tid() == 0) ended.push_back({&t, 0});
  });
  return ended;
}

void wait_graph::find_abandoned() {
  const auto ended = holders_that_have_ended();
  for (auto& n : nodes_) {
    if (!n.reason.kind->is_lock || n.finding != none) continue;
    for (const auto& holder : ended)
      if (holder.who == n.needs.front()) confirm_abandoned(n, holder);
  }
}

void wait_graph::confirm_abandoned(node& n, const ended_holder& holder) {
  const inspection held(*n.who);
  if (!held || waiter::number_of(n.who->word()) != n.episode) return;
  if (n.reason.kind->holder(n.reason.object) != holder.who) return;
  // Whoever has the lock now did not take it before what is read next: a new tenant of the block would be seen.
  home_.fence_of_few();
  auto ended = identity_of(*holder.who);
  if (holder.id == 0 ? ended.id != 0 : ended.id != holder.id || static_cast<const activity*>(holder.who)->alive())
    return;
  auto waiting = describe_wait(*n.who);
  if (!is_open(*n.who)) return;
  const auto same = [&](const finding& f) {
    return f.what == verdict::abandoned && f.members.front().object == waiting.object;
  };
  const auto known = std::find_if(findings_.begin(), findings_.end(), same);
  n.finding = static_cast<std::size_t>(known - findings_.begin());
  if (known != findings_.end())
    known->behind.push_back(std::move(waiting));
  else
    findings_.push_back({.what = verdict::abandoned, .members = {std::move(waiting), std::move(ended)}});
}

// ---------------------------------------------------------------------------------------------------------------

void wait_graph::find_those_behind() {
  for (node* n : order_) {
    const auto finding = n->finding == none ? stuck_among(n->needs) : none;
    blocked b;
    if (finding == none || !confirm_alone(*n, b)) continue;
    n->finding = finding;
    findings_[finding].behind.push_back(std::move(b));
  }
}

bool wait_graph::is_stuck(const wait& w) const noexcept {
  const node* n = find(w.who);
  return n && n->finding != none;
}

bool wait_graph::describe_if_same(const wait& w, blocked& out) {
  const inspection held(*w.who);
  if (!held || w.who->id.load(std::memory_order_relaxed) != w.id || waiter::number_of(w.who->word()) != w.episode)
    return false;
  out = describe_wait(*w.who);
  return true;
}

}  // namespace thrum::sched
