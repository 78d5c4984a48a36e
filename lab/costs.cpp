// `thrum lab costs`: the price of the small things, for process, thread, fiber and task.

#include <fmt/format.h>

#include "lab/experiments.hpp"

namespace thrum::lab {

const std::vector<std::string> costs_options::all_models = {"process", "thread", "fiber", "task"};

namespace {

const std::vector<column> columns = {{"model", "model", unit::text},
                                     {"create_join_ns", "create+join", unit::nanoseconds},
                                     {"switch_ns", "switch", unit::nanoseconds},
                                     {"round_trip_ns", "message there and back", unit::nanoseconds},
                                     {"rest_bytes", "memory at rest", unit::bytes}};

const std::vector<plot> plots = {
    {plot::kind::bars, "create_join_ns", "Create one and wait for its end", unit::nanoseconds, true},
    {plot::kind::bars, "switch_ns", "Switch from one to another", unit::nanoseconds, true},
    {plot::kind::bars, "round_trip_ns", "Message there and back", unit::nanoseconds, true},
    {plot::kind::bars, "rest_bytes", "Memory of one that sleeps", unit::bytes, true}};

// Memory at rest is what a few sleepers of `million` take, each.
double rest_bytes(const std::string& model, progress& shown) {
  int count = model == "task" ? 100'000 : model == "fiber" ? 10'000 : 300;
  json row = result_of("million/" + model, {{"count", count}, {"sleep_s", 1.0}}, 60, shown);
  return number(row, "rss_bytes_each");
}

void compare_with_task(experiment& e) {
  const json* fiber = find_row(e, "fiber");
  const json* task = find_row(e, "task");
  if (!fiber || !task) return;
  auto ratio = [&](const char* key) { return number(*task, key) / number(*fiber, key); };
  e.lessons.push_back(fmt::format(
      "A stackless task rests in {}, a fiber in {}; creating and joining a task took {:.2f} times a fiber's "
      "time, a switch {:.2f} times, a message {:.2f} times.",
      show(*task, "rest_bytes", unit::bytes), show(*fiber, "rest_bytes", unit::bytes), ratio("create_join_ns"),
      ratio("switch_ns"), ratio("round_trip_ns")));
}

void compare_with_thread(experiment& e) {
  const json* fiber = find_row(e, "fiber");
  const json* thread = find_row(e, "thread");
  if (!fiber || !thread) return;
  auto ratio = [&](const char* key) { return number(*thread, key) / number(*fiber, key); };
  e.lessons.push_back(
      fmt::format("Against an OS thread, a fiber is created and joined {:.0f} times as fast, switched to {:.0f} "
                  "times as fast, and a message goes there and back {:.0f} times as fast: no system call is "
                  "involved.",
                  ratio("create_join_ns"), ratio("switch_ns"), ratio("round_trip_ns")));
}

}  // namespace

experiment run_costs(const costs_options& o, progress& shown) {
  experiment e;
  e.name = "costs";
  e.question = "what do creating, switching, talking and resting cost, on one processor?";
  e.parameters = {{"scale", o.scale}, {"processors", 1}};
  e.columns = columns;
  e.plots = plots;
  for (const std::string& model : o.models) {
    shown.begin(fmt::format("costs: {}", model));
    json row = result_of("costs/" + model, {{"scale", o.scale}}, 120, shown, /*processors=*/1);
    row["model"] = model;
    row["rest_bytes"] = rest_bytes(model, shown);
    e.rows.push_back(std::move(row));
  }
  shown.clear();
  compare_with_thread(e);
  compare_with_task(e);
  return e;
}

}  // namespace thrum::lab
