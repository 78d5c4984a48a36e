// What the experiments share.

#include "lab/experiments.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>

#include "lab/child.hpp"
#include "lab/failure.hpp"

namespace thrum::lab {

json result_of(const std::string& model, const json& order, double patience_s, progress& shown, int processors) {
  child c(model, order, processors);
  std::optional<json> result;
  while (auto message = c.next(child::seconds(patience_s))) {
    if (message->contains("result")) result = (*message)["result"];
    if (message->contains("too_short")) result = *message;
    if (message->value("asleep", false))
      shown.update(1.0, show(*message, "made", unit::count) + " asleep");
    else if (message->contains("progress"))
      shown.update(number(*message, "progress"), show(*message, "made", unit::count) + " started");
  }
  if (!result) throw failure(fmt::format("{} ended without a result", model));
  return *result;
}

int processors_available() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  return sched_getaffinity(0, sizeof mask, &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
}

void drop_empty_columns(experiment& e) {
  std::erase_if(e.columns, [&](const column& c) {
    return std::none_of(e.rows.begin(), e.rows.end(), [&](const json& row) { return row.contains(c.key); });
  });
}

void print(const experiment& e) {
  std::string text = fmt::format("\n{}: {}\n\n{}", e.name, e.question, table_text(e));
  for (const std::string& n : e.notes) text += "\nNote: " + n;
  text += "\n";
  for (const std::string& l : e.lessons) text += l + "\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace thrum::lab
