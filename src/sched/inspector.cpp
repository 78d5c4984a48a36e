// What an inspector keeps between looks, and its findings in words.
#include <thrum/inspector.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <utility>

#include "sched/scheduler.hpp"
#include "sched/wait_graph.hpp"

namespace thrum {
namespace {

std::string words_for(const blocked& b) {
  if (b.what == blocked::kind::thread) return b.id == 0 ? "a thread" : "thread " + std::to_string(b.id);
  std::string s = (b.what == blocked::kind::fiber ? "fiber " : "task ") + std::to_string(b.id);
  if (!b.name.empty()) s += " \"" + b.name + "\"";
  return s + " (spawned at " + b.where.file_name() + ":" + std::to_string(b.where.line()) + " in " +
         b.where.function_name() + ")";
}

std::string words_for_wait(const blocked& b) {
  std::string s = words_for(b) + " waits for " + b.waits_for;
  if (!b.object) return s;
  char address[24];
  std::snprintf(address, sizeof address, " %p", b.object);
  return s + address;
}

const char* headline(finding::verdict v) {
  switch (v) {
    case finding::verdict::deadlock:
      return "deadlock: each of them waits for the next, and the last for the first";
    case finding::verdict::abandoned:
      return "abandoned: whoever held it has ended without unlocking it";
    case finding::verdict::hopeless:
      return "hopeless: nobody can end this wait";
    case finding::verdict::suspect:
      break;
  }
  return "suspect: it has been in the same wait for a while";
}

}  // namespace

bool finding::for_ever() const noexcept {
  return proven() && std::none_of(members.begin(), members.end(), [](const blocked& b) { return b.cancellable; });
}

std::string to_string(const finding& f) {
  std::string s = headline(f.what);
  if (f.proven() && !f.for_ever()) s += "; only a cancellation can";
  s += '\n';
  for (const auto& b : f.members) {
    s += "  " + (*b.waits_for ? words_for_wait(b) : words_for(b) + " has ended");
    if (!f.proven()) s += ", for " + std::to_string(std::chrono::floor<std::chrono::seconds>(b.age).count()) + " s";
    s += '\n';
  }
  for (const auto& b : f.behind) s += "  and behind them " + words_for_wait(b) + '\n';
  return s;
}

struct inspector::memory {
  struct known_wait {
    sched::wait_graph::wait wait;
    std::int64_t since_ns;  // When it was first seen.
  };
  std::vector<known_wait> waits;  // Of the last look, sorted by `who`.
};

namespace {

// The longest wait first.
bool older(const finding& a, const finding& b) noexcept { return a.members.front().age > b.members.front().age; }

}  // namespace

std::vector<finding> inspector::look(std::chrono::nanoseconds suspect_after) {
  sched::wait_graph graph(home_);
  auto findings = graph.prove();
  const auto proven = static_cast<std::ptrdiff_t>(findings.size());
  const auto now = home_.now();
  const auto before = std::exchange(memory_->waits, {});
  memory_->waits.reserve(graph.waits().size());
  auto known = before.begin();
  for (const auto& w : graph.waits()) {
    while (known != before.end() && std::less<>()(known->wait.who, w.who)) ++known;
    const bool again = known != before.end() && known->wait == w;
    memory_->waits.push_back({w, again ? known->since_ns : now});
    const std::chrono::nanoseconds age(now - memory_->waits.back().since_ns);
    if (!again || age < suspect_after || graph.is_stuck(w)) continue;
    finding f{.members = {{}}};
    if (!sched::wait_graph::describe_if_same(w, f.members[0])) continue;
    f.members[0].age = age;
    findings.push_back(std::move(f));
  }
  std::sort(findings.begin() + proven, findings.end(), older);
  return findings;
}

inspector::inspector(sched::scheduler& home) : home_(home), memory_(std::make_unique<memory>()) {}
inspector::~inspector() = default;

}  // namespace thrum
