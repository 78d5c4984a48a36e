// The story of an execution that failed.
#include <cstdio>

#include "memory_model/engine.hpp"

namespace thrum::memory_model {
namespace {

const char* name_of(operation o) {
  static constexpr const char* names[] = {"load", "store", "modify", "fence", "membarrier", "futex wait", "futex wake"};
  return names[static_cast<std::size_t>(o)];
}

const char* name_of(std::memory_order o) {
  switch (o) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    default:
      return "seq_cst";
  }
}

}  // namespace

std::string engine::tell(const event& e) const {
  char what[160];
  const auto location = static_cast<unsigned>(e.where);
  const auto read = static_cast<unsigned long long>(e.read), stored = static_cast<unsigned long long>(e.stored);
  const char* stale = e.what == operation::store ? "  (before newer ones)" : "  (an older one)";
  switch (e.what) {
    case operation::load:
      std::snprintf(what, sizeof what, "a%u: reads %#llx", location, read);
      break;
    case operation::store:
      std::snprintf(what, sizeof what, "a%u = %#llx", location, stored);
      break;
    case operation::modify:
      std::snprintf(what, sizeof what, "a%u: %#llx becomes %#llx", location, read, stored);
      break;
    case operation::wait:
      std::snprintf(what, sizeof what, "a%u: is %#llx, expects %#llx", location, read, stored);
      break;
    case operation::wake:
      std::snprintf(what, sizeof what, "a%u", location);
      break;
    default:
      what[0] = 0;
  }
  const char* file = std::strrchr(e.at.file_name(), '/');
  char line[400];
  std::snprintf(line, sizeof line, "  %-10s %-10s %-8s %s%s%s  [%s:%u]\n", threads_[e.thread].name, name_of(e.what),
                name_of(e.order), what,
                e.stale  ? stale
                : e.late ? "  (one yet to come)"
                         : "",
                e.changed ? "  (mutated)" : "", file ? file + 1 : e.at.file_name(), static_cast<unsigned>(e.at.line()));
  return line;
}

std::string engine::story(const std::string& why) const {
  const bool drawn = chooser_.draws();
  std::string text = why + (drawn ? "; seed " : "; execution ") +
                     std::to_string(drawn ? chooser_.seed() : static_cast<std::uint64_t>(outcome_.executions) + 1) +
                     ":\n";
  for (const auto& e : events_) text += tell(e);
  return text;
}

}  // namespace thrum::memory_model
